"""The listener (LDS) of one agent. Nothing that a rollout changes is in it: a changed listener drains connections."""

from __future__ import annotations

from pathlib import Path

from agent_api.meta import CONVERSATION_HEADER, OUTCOME_HEADER, REQUEST_ID_HEADER, USER_HEADER
from agent_gateway.envoy.connection_manager import BUFFER_BYTES, make_manager
from agent_gateway.envoy.log_format import COUNTED_FLAGS, LOG_FIELDS
from agent_gateway.envoy.render_access import access_filter
from agent_gateway.envoy.resources import (
    FAILURES_FILE,
    FRONT_DOOR,
    LISTENER_TYPE,
    Resource,
    listener_name,
    typed,
)

STAT_PREFIX = "agent"
STANDARD_OUTPUT = "/dev/stdout"


def render_listener(agent: str, port: int, address: str, config_dir: Path) -> Resource:
    """Listener of an agent."""
    counted = {**_LOG_FORMAT, **_UNIT_FORMAT}
    logs = [_access_log(STANDARD_OUTPUT, _LOG_FORMAT), _access_log(str(config_dir / FAILURES_FILE), counted)]
    manager = make_manager(f"{STAT_PREFIX}.{agent}", agent, config_dir, logs, access_filter())
    return {"@type": LISTENER_TYPE, "name": listener_name(agent, port), **_socket(address, port, manager)}


def render_front_door(address: str, port: int, config_dir: Path) -> Resource:
    """The listener that reaches all agents. It counts no failure: the agent's own listener has counted it.

    It is there from the start and never changes, so that agents that come and go leave its connections alone. It also
    keeps the route table subscribed while there is no agent.
    """
    manager = make_manager(FRONT_DOOR, FRONT_DOOR, config_dir, [_access_log(STANDARD_OUTPUT, _LOG_FORMAT)])
    return {"name": FRONT_DOOR, **_socket(address, port, manager)}


def _socket(address: str, port: int, manager: Resource) -> Resource:
    return {
        "address": {"socket_address": {"address": address, "port_value": port}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [manager]}],
    }


def _access_log(path: str, log_format: dict[str, str]) -> Resource:
    server_error = {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "greylag.log_status"}}}
    failures = [{"response_flag_filter": {"flags": sorted(COUNTED_FLAGS)}}, {"status_code_filter": server_error}]
    return {
        **typed(
            "envoy.access_loggers.file",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=path,
            log_format={"json_format": log_format},
        ),
        "filter": {"or_filter": {"filters": failures}},
    }


_LOG_FORMAT = {
    LOG_FIELDS.start: "%START_TIME(%s.%3f)%",
    LOG_FIELDS.cluster: "%UPSTREAM_CLUSTER%",
    LOG_FIELDS.route: "%ROUTE_NAME%",
    LOG_FIELDS.epoch: "%METADATA(ROUTE:greylag:epoch)%",
    LOG_FIELDS.flags: "%RESPONSE_FLAGS%",
    LOG_FIELDS.status: "%RESPONSE_CODE%",
    LOG_FIELDS.outcome: f"%RESP({OUTCOME_HEADER})%",
    LOG_FIELDS.method: "%REQ(:METHOD)%",
    LOG_FIELDS.conversation: f"%REQ({CONVERSATION_HEADER}):128%",
    "request_id": f"%REQ({REQUEST_ID_HEADER}):128%",
    "detail": "%RESPONSE_CODE_DETAILS%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "milliseconds": "%DURATION%",
}
_UNIT_FORMAT = {
    LOG_FIELDS.placement: "%METADATA(ROUTE:greylag:placement)%",
    LOG_FIELDS.users: "%METADATA(ROUTE:greylag:users)%",
    LOG_FIELDS.user: f"%REQ({USER_HEADER}):1024%",
}
"""What a failure is evidence of. Users stand only in the file that the sidecar reads, not in what a cluster keeps."""
