"""Routes and slices as the API server would hand them over."""

from __future__ import annotations

from typing import Any

from agent_gateway.watching.routes import Route, parse_route


def route_item(name: str = "support", uid: str = "u1", **spec: Any) -> dict[str, Any]:
    revisions = spec.pop("revisions", [revision("v1", 100)])
    defaults = {"serial": 1, "port": 10001, "epoch": 7, "revisions": revisions}
    return {"metadata": {"name": name, "uid": uid}, "spec": {**defaults, **spec}}


def revision(name: str, weight: int, role: str = "Stable") -> dict[str, Any]:
    return {"name": name, "service": f"support-{name}", "weight": weight, "role": role}


def make_route(*revisions: dict[str, Any], name: str = "support", uid: str = "u1", **spec: Any) -> Route:
    return parse_route(route_item(name, uid, revisions=list(revisions), **spec))


def jwt_rule(issuer: str = "https://idp.example", **fields: Any) -> dict[str, Any]:
    keys = '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'
    return {"issuer": issuer, "audiences": ["agents"], "jwks": keys, **fields}


def slice_item(service: str, *endpoints: dict[str, Any], name: str = "s", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": list(endpoints),
        **fields,
    }


def pod(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}
