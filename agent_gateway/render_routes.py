"""The route table (RDS): a virtual host per agent, its rules from the most to the least specific."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent_api.meta import CONVERSATION_HEADER, EPOCH_HEADER, USER_HEADER
from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.route import Role, RouteRevision
from agent_gateway.problems import INVALID_IDENTITY, NO_REVISION, NOT_FOUND, direct_response, suspended
from agent_gateway.resources import AGENT_HEADER, ROUTES_NAME, ROUTES_TYPE, Resource, cluster_name, typed
from agent_gateway.routes import Route

HIDDEN_PATHS = ("/metrics", "/observations")
LIFTED_PATHS = ("/agent/run", "/agent/tasks")
TRANSFORM_FILTER = "envoy.filters.http.transform"
TRANSFORM_TYPE = "envoy.extensions.filters.http.transform.v3.TransformConfig"
EPOCH_METADATA = ("greylag", "epoch")
_VALID_CONVERSATION = "[!-~]{1,128}"
_VALID_USER = r"[^\x00-\x1f\x7f]+"
_IDLE_TIMEOUT = "3660s"
_ALL_WEIGHT = 100
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
        "request_headers_to_remove": [AGENT_HEADER],
        "routes": list(_table(route, lease_expired=lease_expired)),
    }


def render_table(hosts: Iterable[Resource]) -> Resource:
    """The route configuration of all agents; the listener, not the client's Host, says which one a request is for."""
    return {
        "@type": ROUTES_TYPE,
        "name": ROUTES_NAME,
        "vhost_header": AGENT_HEADER,
        "validate_clusters": True,
        "virtual_hosts": sorted(hosts, key=lambda host: str(host["name"])),
    }


def _table(route: Route, *, lease_expired: bool) -> Iterator[Resource]:
    for path in HIDDEN_PATHS:
        yield {"name": "hidden", "match": {"path_separated_prefix": path}, **direct_response(NOT_FOUND)}
    if route.spec.suspended:
        yield {"name": "suspended", "match": _match(_POST), **direct_response(suspended(route.name))}
    fallback = route.fallback
    if fallback is None:
        yield {"name": "no-revision", "match": _match(), **direct_response(NO_REVISION)}
        return
    yield _refuse(CONVERSATION_HEADER, _VALID_CONVERSATION)
    yield _refuse(USER_HEADER, _VALID_USER)
    yield from _pins(route)
    yield _forward(route, "foreign-id", _match(_ANY_ID), {"cluster": cluster_name(route.name, fallback.name)})
    split = _split(route, fallback, lease_expired=lease_expired)
    for path in LIFTED_PATHS:
        yield {
            **_forward(route, "split-lifted", {"path": path, "headers": [_POST]}, split),
            "typed_per_filter_config": {TRANSFORM_FILTER: _lift(route.spec.stickiness)},
        }
    yield _forward(route, "split", _match(), split)


def _refuse(header: str, pattern: str) -> Resource:
    invalid = [
        {"name": header, "present_match": True},
        {"name": header, "string_match": {"safe_regex": {"regex": pattern}}, "invert_match": True},
    ]
    return {"name": "invalid-identity", "match": _match(*invalid), **direct_response(INVALID_IDENTITY)}


def _pins(route: Route) -> Iterator[Resource]:
    for revision in route.spec.revisions:
        prefix = f"{revision.name}."
        if revision.role is Role.CANARY:
            prefix += f"{route.spec.epoch}."
        match = _match({"name": CONVERSATION_HEADER, "string_match": {"prefix": prefix}})
        yield _forward(route, "pin", match, {"cluster": cluster_name(route.name, revision.name)})


def _split(route: Route, fallback: RouteRevision, *, lease_expired: bool) -> Resource:
    """Weights with the canary first: its share is [0, weight), so that a user's side only changes towards it."""
    weights = {r: r.weight for r in sorted(route.spec.revisions, key=lambda r: r.role is not Role.CANARY)}
    if lease_expired:
        weights = {fallback: _ALL_WEIGHT}
    clusters = [{"name": cluster_name(route.name, r.name), "weight": w} for r, w in weights.items() if w]
    if len(clusters) == 1:
        return {"cluster": clusters[0]["name"]}
    if route.spec.stickiness is not Stickiness.USER:
        return {"weighted_clusters": {"clusters": clusters}}
    return {
        "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
        "hash_policy": [_salted_user(route.spec.epoch)],
    }


def _salted_user(epoch: int) -> Resource:
    salt = {"pattern": {"regex": "^(.*)$"}, "substitution": rf"{epoch}/\1"}
    return {"header": {"header_name": USER_HEADER, "regex_rewrite": salt}}


def _lift(stickiness: Stickiness) -> Resource:
    """Copies ids from a JSON body to headers and picks the route again."""
    fields = {CONVERSATION_HEADER: "conversation_id"}
    if stickiness is Stickiness.USER:
        fields[USER_HEADER] = "user_id"
    mutations = [
        {"append": {"header": {"key": header, "value": f"%REQUEST_BODY({field})%"}, "append_action": "ADD_IF_ABSENT"}}
        for header, field in fields.items()
    ]
    return {
        "@type": f"type.googleapis.com/{TRANSFORM_TYPE}",
        "clear_route_cache": True,
        "request_transformation": {"headers_mutations": mutations},
    }


def _match(*headers: Resource) -> Resource:
    return {"prefix": "/", "headers": list(headers)}


def _forward(route: Route, name: str, match: Resource, target: Resource) -> Resource:
    epoch = str(route.spec.epoch)
    return {
        "name": name,
        "match": match,
        "route": {**target, "timeout": "0s", "idle_timeout": _IDLE_TIMEOUT},
        "metadata": {"filter_metadata": {EPOCH_METADATA[0]: {EPOCH_METADATA[1]: epoch}}},
        "request_headers_to_add": [
            {"header": {"key": EPOCH_HEADER, "value": epoch}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
    }
