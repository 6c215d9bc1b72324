"""What every listener has in common: its HTTP connection manager, and the problems that it answers by itself."""

from __future__ import annotations

from pathlib import Path

from agent_api.meta import REQUEST_ID_HEADER
from agent_gateway.envoy.log_format import COUNTED_FLAGS
from agent_gateway.envoy.problems import PROBLEM_CONTENT_TYPE, problem_document
from agent_gateway.envoy.resources import (
    AGENT_HEADER,
    ROUTES_FILE,
    ROUTES_NAME,
    Resource,
    typed,
)

BUFFER_BYTES = 1 << 20
"""Longest body that is looked into; a longer one is refused there."""
TRANSFORM_FILTER = "envoy.filters.http.transform"
TRANSFORM_TYPE = "envoy.extensions.filters.http.transform.v3.TransformConfig"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = typed(
    "envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True
)
_STREAM_IDLE = "3660s"


def make_manager(
    stat_prefix: str, host: str, config_dir: Path, access_log: list[Resource], *filters: Resource
) -> Resource:
    """Connection manager whose requests are for the virtual host `host`; `filters` stand before those of all.

    Nothing in it ever changes: what does is in the routes.
    """
    return typed(
        "envoy.filters.network.http_connection_manager",
        _HCM,
        stat_prefix=stat_prefix,
        rds=_follow_routes(config_dir),
        http_filters=[*filters, typed(TRANSFORM_FILTER, TRANSFORM_TYPE), _ROUTER],
        access_log=access_log,
        local_reply_config=_LOCAL_REPLIES,
        early_header_mutation_extensions=[_headers_of(host)],
        **_CONNECTION_OPTIONS,
    )


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
    # Ends with the last byte of the request, or the first of the answer: a slow body is cut, a long run is not.
    "request_timeout": "60s",
    "http2_protocol_options": {
        "max_concurrent_streams": 256,
        "initial_stream_window_size": 256 * 1024,
        "initial_connection_window_size": BUFFER_BYTES,
    },
    "stream_idle_timeout": _STREAM_IDLE,
    "delayed_close_timeout": "1s",
}


def _headers_of(host: str) -> Resource:
    """Runs before the route is picked: takes away what clients must not set, and names the virtual host."""
    named = {"header": {"key": AGENT_HEADER, "value": host}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return typed(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            *({"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-greylag-", "x-envoy-")),
            {"append": named},
        ],
    )


def _follow_routes(config_dir: Path) -> Resource:
    """Subscription to the route table; all listeners share one, because they name it alike."""
    return {
        "route_config_name": ROUTES_NAME,
        "config_source": {
            "path_config_source": {"path": str(config_dir / ROUTES_FILE)},
            "resource_api_version": "V3",
            "initial_fetch_timeout": "0s",
        },
    }


def _local_reply(condition: Resource, slug: str, title: str, **changes: object) -> Resource:
    document = problem_document(slug, title, "%RESPONSE_CODE%", "%LOCAL_REPLY_BODY%")
    document["request_id"] = f"%REQ({REQUEST_ID_HEADER})%"
    return {
        "filter": condition,
        "body_format_override": {"json_format": document, "content_type": PROBLEM_CONTENT_TYPE},
        **changes,
    }


def _status_is(status: int) -> Resource:
    value = {"default_value": status, "runtime_key": f"greylag.status_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _unauthorized(status: int) -> Resource:
    """Whatever is wrong with a token: also another audience, which Envoy answers with 403, is 401 (RFC 6750)."""
    challenge = {
        "header": {"key": "www-authenticate", "value": "Bearer"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    return _local_reply(
        _status_is(status), "unauthorized", "Not authorized", status_code=401, headers_to_add=[challenge]
    )


_FORBIDDEN = 403
_ASKS_FOR_UPGRADE: Resource = {"header_filter": {"header": {"name": "upgrade", "present_match": True}}}

_LOCAL_REPLIES: Resource = {
    "mappers": [
        _local_reply(
            {"and_filter": {"filters": [_ASKS_FOR_UPGRADE, _status_is(_FORBIDDEN)]}},
            "upgrade-refused",
            "No upgrade",
            status_code=400,
            body={"inline_string": "Agents answer by HTTP and server-sent events: ask without the header upgrade."},
        ),
        _local_reply(
            {"response_flag_filter": {"flags": sorted(COUNTED_FLAGS)}},
            "upstream-unavailable",
            "No answer from the agent",
        ),
        _local_reply(_status_is(413), "body-too-large", "Body too large"),
        _unauthorized(401),
        _unauthorized(_FORBIDDEN),
    ]
}
