"""The route table (RDS): a virtual host per agent, its rules from the most to the least specific."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent_api.meta import CONVERSATION_HEADER, EPOCH_HEADER, USER_HEADER
from agent_api.placement import PLACEMENT_HEADER, Placement
from agent_api.v1alpha1.route import Role
from agent_gateway.envoy.connection_manager import TRANSFORM_FILTER
from agent_gateway.envoy.log_format import USERS_CLAIMED, USERS_PROVEN
from agent_gateway.envoy.problems import INVALID_IDENTITY, NO_REVISION, NOT_FOUND, direct_response, suspended
from agent_gateway.envoy.render_access import access_of
from agent_gateway.envoy.render_split import IDLE_TIMEOUT, lift, lifted_fields, placement_of, split_headers, split_of
from agent_gateway.envoy.resources import (
    AGENT_HEADER,
    EXTERNAL_ADDRESS_HEADER,
    FOLLOW_UP_ROUTE,
    ROUTES_NAME,
    ROUTES_TYPE,
    SUBJECT_HEADER,
    Resource,
    cluster_name,
    typed,
)
from agent_gateway.watching.routes import Route

HIDDEN_PATHS = ("/metrics", "/observations", "/report")
LIFTED_PATHS = ("/agent/run", "/agent/tasks")
TASK_PREFIX = "/agent/tasks/"
_METADATA = "greylag"
_MAX_ANSWER_BYTES = 4 << 20
_CANCEL_PATH = f"{TASK_PREFIX}[^/]+/cancel"
_VALID_CONVERSATION = "[!-~]{1,128}"
_VALID_USER = r"[^\x00-\x1f\x7f]+"
_POST: Resource = {"name": ":method", "string_match": {"exact": "POST"}}
_ANY_ID: Resource = {"name": CONVERSATION_HEADER, "present_match": True}
# A dead pod has the fewest requests, so that the balancer likes it best: picking another one takes many tries.
_RETRY_POLICY: Resource = {
    "retry_on": "connect-failure,refused-stream,reset-before-request",
    "num_retries": 3,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    "host_selection_retry_max_attempts": 20,
    "retry_host_predicate": [
        typed(
            "envoy.retry_host_predicates.previous_hosts",
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        )
    ],
}


def render_host(route: Route, *, lease_expired: bool) -> Resource:
    """Virtual host of an agent; with the lease expired, new conversations all go to stable."""
    return {
        "name": route.name,
        "domains": [route.name],
        "retry_policy": _RETRY_POLICY,
        "typed_per_filter_config": access_of(route),
        "request_headers_to_remove": [AGENT_HEADER, SUBJECT_HEADER, EXTERNAL_ADDRESS_HEADER],
        "routes": list(_table(route, lease_expired=lease_expired)),
    }


def render_table(hosts: Iterable[Resource]) -> Resource:
    """The route configuration of all agents; the listener, not the client's Host, says which one a request is for."""
    return {
        "@type": ROUTES_TYPE,
        "name": ROUTES_NAME,
        "vhost_header": AGENT_HEADER,
        "validate_clusters": True,
        "max_direct_response_body_size_bytes": _MAX_ANSWER_BYTES,
        "virtual_hosts": sorted(hosts, key=lambda host: str(host["name"])),
    }


def _table(route: Route, *, lease_expired: bool) -> Iterator[Resource]:
    for path in HIDDEN_PATHS:
        yield {"name": "hidden", "match": {"path_separated_prefix": path}, **direct_response(NOT_FOUND)}
    fallback = route.fallback
    if route.spec.suspended:
        if fallback is not None:
            cancel = {"safe_regex": {"regex": _CANCEL_PATH}, "headers": [_POST]}
            to = {"cluster": cluster_name(route.name, fallback.name)}
            yield _forward(route, FOLLOW_UP_ROUTE, Placement.FOREIGN, cancel, to)
        yield {"name": "suspended", "match": _match(_POST), **direct_response(suspended(route.name))}
    if fallback is None:
        yield {"name": "no-revision", "match": _match(), **direct_response(NO_REVISION)}
        return
    to_fallback = {"cluster": cluster_name(route.name, fallback.name)}
    yield _refuse(CONVERSATION_HEADER, _VALID_CONVERSATION)
    yield _refuse(USER_HEADER, _VALID_USER)
    yield _forward(route, FOLLOW_UP_ROUTE, Placement.FOREIGN, {"prefix": TASK_PREFIX}, to_fallback)
    yield from _pins(route)
    yield _forward(route, "foreign-id", Placement.FOREIGN, _match(_ANY_ID), to_fallback)
    split = split_of(route, fallback, lease_expired=lease_expired)
    placement = placement_of(route, lease_expired=lease_expired)
    for path in LIFTED_PATHS:
        yield {
            **_forward(route, "split-lifted", placement, {"path": path, "headers": [_POST]}, split),
            "typed_per_filter_config": {TRANSFORM_FILTER: lift(lifted_fields(route.spec))},
        }
    yield _forward(route, "split", placement, _match(), split)


def _refuse(header: str, pattern: str) -> Resource:
    invalid = [
        {"name": header, "present_match": True},
        {"name": header, "string_match": {"safe_regex": {"regex": pattern}}, "invert_match": True},
    ]
    return {"name": "invalid-identity", "match": _match(*invalid), **direct_response(INVALID_IDENTITY)}


def _pins(route: Route) -> Iterator[Resource]:
    for revision in route.spec.revisions:
        prefix = f"{revision.name}."
        if revision.role is Role.CANARY and not revision.any_epoch:
            prefix += f"{route.spec.epoch}."
        match = _match({"name": CONVERSATION_HEADER, "string_match": {"prefix": prefix}})
        to = {"cluster": cluster_name(route.name, revision.name)}
        yield _forward(route, "pin", Placement.PINNED, match, to)


def _match(*headers: Resource) -> Resource:
    return {"prefix": "/", "headers": list(headers)}


def _forward(route: Route, name: str, placement: Placement, match: Resource, target: Resource) -> Resource:
    epoch = str(route.spec.epoch)
    users = USERS_CLAIMED if split_headers(route.spec) == (USER_HEADER,) else USERS_PROVEN
    return {
        "name": name,
        "match": match,
        "route": {**target, "timeout": "0s", "idle_timeout": IDLE_TIMEOUT},
        "metadata": {"filter_metadata": {_METADATA: {"epoch": epoch, "placement": placement.value, "users": users}}},
        "request_headers_to_add": [_set(EPOCH_HEADER, epoch), _set(PLACEMENT_HEADER, placement.value)],
    }


def _set(header: str, value: str) -> Resource:
    return {"header": {"key": header, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
