"""The listener (LDS) of one agent. Nothing that a rollout changes is in it: a changed listener drains connections."""

from __future__ import annotations

from pathlib import Path

from agent_api.meta import CONVERSATION_HEADER, OUTCOME_HEADER, REQUEST_ID_HEADER
from agent_gateway.access_log import COUNTED_FLAGS, LOG_FIELDS
from agent_gateway.problems import PROBLEM_CONTENT_TYPE, problem_type
from agent_gateway.render_routes import TRANSFORM_FILTER, TRANSFORM_TYPE
from agent_gateway.resources import (
    AGENT_HEADER,
    FAILURES_FILE,
    LISTENER_TYPE,
    ROUTES_FILE,
    ROUTES_NAME,
    Resource,
    listener_name,
    typed,
)

STAT_PREFIX = "agent"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = typed(
    "envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True
)
_BUFFER_BYTES = 1 << 20
_STREAM_IDLE = "3660s"


def render_listener(agent: str, port: int, address: str, config_dir: Path) -> Resource:
    """Listener of an agent."""
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        _HCM,
        stat_prefix=f"{STAT_PREFIX}.{agent}",
        rds=follow_routes(config_dir),
        http_filters=[
            typed(TRANSFORM_FILTER, TRANSFORM_TYPE),
            _ROUTER,
        ],
        access_log=_access_logs(config_dir),
        local_reply_config=_LOCAL_REPLIES,
        early_header_mutation_extensions=[_headers_of(agent)],
        **_CONNECTION_OPTIONS,
    )
    return {
        "@type": LISTENER_TYPE,
        "name": listener_name(agent, port),
        "address": {"socket_address": {"address": address, "port_value": port}},
        "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        "filter_chains": [{"filters": [manager]}],
    }


_CONNECTION_OPTIONS: Resource = {
    "use_remote_address": True,
    "internal_address_config": {},
    "normalize_path": True,
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    "server_header_transformation": "PASS_THROUGH",
    "generate_request_id": True,
    "preserve_external_request_id": True,
    "always_set_request_id_in_response": True,
    "request_id_extension": {
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            "pack_trace_reason": False,
        }
    },
    "request_headers_timeout": "10s",
    "stream_idle_timeout": _STREAM_IDLE,
    "delayed_close_timeout": "1s",
}


def _headers_of(agent: str) -> Resource:
    """Runs before the route is picked: takes away what clients must not set, and names the agent."""
    named = {"header": {"key": AGENT_HEADER, "value": agent}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return typed(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            *({"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-greylag-", "x-envoy-")),
            {"append": named},
        ],
    )


def follow_routes(config_dir: Path) -> Resource:
    """Subscription to the route table; all listeners share one, because they name it alike."""
    return {
        "route_config_name": ROUTES_NAME,
        "config_source": {
            "path_config_source": {"path": str(config_dir / ROUTES_FILE)},
            "resource_api_version": "V3",
            "initial_fetch_timeout": "0s",
        },
    }


def render_keeper(config_dir: Path) -> Resource:
    """A listener on a socket that nobody calls: it keeps the route table subscribed while there is no agent."""
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        _HCM,
        stat_prefix=ROUTES_NAME,
        rds=follow_routes(config_dir),
        http_filters=[_ROUTER],
    )
    return {
        "name": ROUTES_NAME,
        "address": {"pipe": {"path": str(config_dir / "keeper.sock")}},
        "filter_chains": [{"filters": [manager]}],
    }


def _access_logs(config_dir: Path) -> list[Resource]:
    return [_access_log("/dev/stdout"), _access_log(str(config_dir / FAILURES_FILE))]


def _access_log(path: str) -> Resource:
    server_error = {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "greylag.log_status"}}}
    failures = [{"response_flag_filter": {"flags": sorted(COUNTED_FLAGS)}}, {"status_code_filter": server_error}]
    return {
        **typed(
            "envoy.access_loggers.file",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=path,
            log_format={"json_format": _LOG_FORMAT},
        ),
        "filter": {"or_filter": {"filters": failures}},
    }


_LOG_FORMAT = {
    LOG_FIELDS.start: "%START_TIME(%s.%3f)%",
    LOG_FIELDS.cluster: "%UPSTREAM_CLUSTER%",
    LOG_FIELDS.epoch: "%METADATA(ROUTE:greylag:epoch)%",
    LOG_FIELDS.flags: "%RESPONSE_FLAGS%",
    LOG_FIELDS.status: "%RESPONSE_CODE%",
    LOG_FIELDS.outcome: f"%RESP({OUTCOME_HEADER})%",
    LOG_FIELDS.method: "%REQ(:METHOD)%",
    LOG_FIELDS.conversation: f"%REQ({CONVERSATION_HEADER}):128%",
    LOG_FIELDS.request_id: f"%REQ({REQUEST_ID_HEADER}):128%",
    "detail": "%RESPONSE_CODE_DETAILS%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "milliseconds": "%DURATION%",
}


def _local_reply(condition: Resource, slug: str, title: str) -> Resource:
    document = {
        "type": problem_type(slug),
        "title": title,
        "status": "%RESPONSE_CODE%",
        "detail": "%LOCAL_REPLY_BODY%",
        "request_id": f"%REQ({REQUEST_ID_HEADER})%",
    }
    return {
        "filter": condition,
        "body_format_override": {"json_format": document, "content_type": PROBLEM_CONTENT_TYPE},
    }


def _status_is(status: int) -> Resource:
    value = {"default_value": status, "runtime_key": f"greylag.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


_LOCAL_REPLIES: Resource = {
    "mappers": [
        _local_reply(
            {"response_flag_filter": {"flags": sorted(COUNTED_FLAGS)}},
            "upstream-unavailable",
            "No answer from the agent",
        ),
        _local_reply(_status_is(413), "body-too-large", "Body too large"),
    ]
}
