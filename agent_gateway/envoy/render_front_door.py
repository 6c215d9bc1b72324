"""The front door's routes: every agent under one address, forwarded to the agent's own listener.

Weights, pins and access stay there. The lists are answered from the routes themselves, so that they hold what is in
force, with nothing else alive than Envoy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from agent_gateway.envoy.connection_manager import TRANSFORM_FILTER
from agent_gateway.envoy.problems import MODEL_MISSING, NO_SUCH_PAGE, UNKNOWN_AGENT, direct_json, direct_response
from agent_gateway.envoy.render_split import IDLE_TIMEOUT, lift
from agent_gateway.envoy.resources import AGENT_HEADER, FRONT_DOOR, Resource, cluster_name, door_cluster
from agent_gateway.watching.endpoints import Endpoint
from agent_gateway.watching.routes import Route

LIST_PATH = "/agents"
MODELS_PATH = "/v1/models"
CHAT_PATH = "/v1/chat/completions"
MODEL_HEADER = "x-greylag-model"
_GET: Resource = {"name": ":method", "string_match": {"exact": "GET"}}
_POST: Resource = {"name": ":method", "string_match": {"exact": "POST"}}


class Health(StrEnum):
    """What a caller of an agent can expect."""

    SERVING = "serving"
    SUSPENDED = "suspended"
    NO_REVISION = "no-revision"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Entry:
    """One agent as the front door lists it."""

    name: str
    description: str
    health: str
    path: str


def entry_of(route: Route, endpoints: Mapping[str, frozenset[Endpoint]]) -> Entry:
    """Entry of an agent; `endpoints` are those in use, by cluster name."""
    return Entry(route.name, route.spec.description, _health(route, endpoints), f"{LIST_PATH}/{route.name}")


def _health(route: Route, endpoints: Mapping[str, frozenset[Endpoint]]) -> Health:
    if route.spec.suspended:
        return Health.SUSPENDED
    if route.fallback is None:
        return Health.NO_REVISION
    serving = (r for r in route.spec.revisions if r.weight and endpoints.get(cluster_name(route.name, r.name)))
    return Health.SERVING if any(serving) else Health.UNAVAILABLE


def render_door_host(entries: Iterable[Entry]) -> Resource:
    """Virtual host of the front door."""
    return {
        "name": FRONT_DOOR,
        "domains": [FRONT_DOOR],
        "request_headers_to_remove": [AGENT_HEADER, MODEL_HEADER],
        "routes": list(_table(sorted(entries, key=lambda entry: entry.name))),
    }


def read_entries(host: Resource) -> dict[str, Entry]:
    """Entries by agent, as `render_door_host` wrote them."""
    body = host["routes"][0]["direct_response"]["body"]["inline_string"]
    return {fields["name"]: Entry(**fields) for fields in json.loads(body)["agents"]}


def _table(entries: list[Entry]) -> Iterator[Resource]:
    agents = [asdict(entry) for entry in entries]
    models = [{"id": entry.name, "object": "model", "created": 0, "owned_by": "greylag"} for entry in entries]
    yield _answer("list", LIST_PATH, {"agents": agents})
    yield _answer("models", MODELS_PATH, {"object": "list", "data": models})
    for entry, fields in zip(entries, agents, strict=True):
        yield _answer("entry", entry.path, fields)
        yield _forward("agent", {"prefix": f"{entry.path}/"}, entry.name, prefix_rewrite="/")
        named = {"name": MODEL_HEADER, "string_match": {"exact": entry.name}}
        yield _forward("model", {"path": CHAT_PATH, "headers": [_POST, named]}, entry.name)
    any_model = {"name": MODEL_HEADER, "present_match": True}
    yield {
        "name": "unknown-model",
        "match": {"path": CHAT_PATH, "headers": [_POST, any_model]},
        **direct_response(UNKNOWN_AGENT),
    }
    yield {
        "name": "model-lifted",
        "match": {"path": CHAT_PATH, "headers": [_POST]},
        **direct_response(MODEL_MISSING),
        "typed_per_filter_config": {TRANSFORM_FILTER: lift({MODEL_HEADER: "model"})},
    }
    yield {"name": "unknown-agent", "match": {"path_separated_prefix": LIST_PATH}, **direct_response(UNKNOWN_AGENT)}
    yield {"name": "no-such-page", "match": {"prefix": "/"}, **direct_response(NO_SUCH_PAGE)}


def _answer(name: str, path: str, document: object) -> Resource:
    return {"name": name, "match": {"path": path, "headers": [_GET]}, **direct_json(document)}


def _forward(name: str, match: Resource, agent: str, **action: str) -> Resource:
    """To the agent's own listener, which alone tries again."""
    target = {"cluster": door_cluster(agent), "timeout": "0s", "idle_timeout": IDLE_TIMEOUT, **action}
    return {"name": name, "match": match, "route": target}
