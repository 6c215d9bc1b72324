"""Who gets which revision: the weights, and the key that keeps a user on one side of them."""

from __future__ import annotations

from collections.abc import Mapping

from agent_api.meta import CONVERSATION_HEADER, USER_HEADER
from agent_api.placement import Placement
from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.route import ALL_TRAFFIC, AgentRouteSpec, Role, RouteRevision
from agent_gateway.envoy.connection_manager import TRANSFORM_TYPE
from agent_gateway.envoy.resources import SUBJECT_HEADER, Resource, cluster_name
from agent_gateway.watching.routes import Route

IDLE_TIMEOUT = "3660s"
_CREDENTIAL_HEADERS = ("authorization", "x-api-key")


def split_of(route: Route, fallback: RouteRevision, *, lease_expired: bool) -> Resource:
    """Weights with the canary first: its share is [0, weight), so that a user's side only changes towards it."""
    weights = {r: r.weight for r in sorted(route.spec.revisions, key=lambda r: r.role is not Role.CANARY)}
    if lease_expired:
        weights = {fallback: ALL_TRAFFIC}
    clusters = [{"name": cluster_name(route.name, r.name), "weight": w} for r, w in weights.items() if w]
    if len(clusters) == 1:
        return {"cluster": clusters[0]["name"]}
    if route.spec.stickiness is not Stickiness.USER:
        return {"weighted_clusters": {"clusters": clusters}}
    return {
        "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
        "hash_policy": [_salted(header, route.spec.epoch) for header in split_headers(route.spec)],
    }


def placement_of(route: Route, *, lease_expired: bool) -> Placement:
    """What the split is to the verdict: by user, by chance, or none while one revision takes all."""
    if lease_expired or sum(revision.weight > 0 for revision in route.spec.revisions) <= 1:
        return Placement.WHOLE
    return Placement.SPLIT_BY_USER if route.spec.stickiness is Stickiness.USER else Placement.SPLIT


def split_headers(spec: AgentRouteSpec) -> tuple[str, ...]:
    """Headers that tell users apart, the first one present decides; with none of them a request is split at random.

    Where access is on, only what the credential proves counts: a client must not choose its side.
    """
    if spec.jwt is None and not spec.api_keys:
        return (USER_HEADER,)
    subject = (SUBJECT_HEADER,) if spec.jwt is not None else ()
    return subject + (_CREDENTIAL_HEADERS if spec.api_keys else ())


def lifted_fields(spec: AgentRouteSpec) -> dict[str, str]:
    """Fields of a run's body that decide where it goes, by the header that they are copied to."""
    fields = {CONVERSATION_HEADER: "conversation_id"}
    if spec.stickiness is Stickiness.USER and USER_HEADER in split_headers(spec):
        fields[USER_HEADER] = "user_id"
    return fields


def lift(fields: Mapping[str, str]) -> Resource:
    """Copies fields of a JSON body to headers that the client did not send, and picks the route again."""
    mutations = [
        {"append": {"header": {"key": header, "value": f"%REQUEST_BODY({field})%"}, "append_action": "ADD_IF_ABSENT"}}
        for header, field in fields.items()
    ]
    return {
        "@type": f"type.googleapis.com/{TRANSFORM_TYPE}",
        "clear_route_cache": True,
        "request_transformation": {"headers_mutations": mutations},
    }


def _salted(header: str, epoch: int) -> Resource:
    """Hash of a header under the epoch; a key is the same user with and without its scheme."""
    salt = {"pattern": {"regex": "^(?:[Bb]earer )?(.*)$"}, "substitution": rf"{epoch}/\1"}
    return {"header": {"header_name": header, "regex_rewrite": salt}, "terminal": True}
