"""The part of an AgentRoute that a gateway acts on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agent_api.v1alpha1.route import ALL_TRAFFIC, AgentRouteSpec, JwtRule, Role, RouteRevision

_SPEC_FIELDS = ("serial", "port", "epoch", "suspended", "stickiness", "lease", "description", "apiKeys")
_JWT_FIELDS = ("issuer", "audiences", "jwks")
_REVISION_FIELDS = ("name", "service", "weight", "role", "anyEpoch")
KNOWN_FIELDS = (
    *_SPEC_FIELDS,
    *("jwt", *(f"jwt.{field}" for field in _JWT_FIELDS)),
    *("revisions", *(f"revisions.{field}" for field in _REVISION_FIELDS)),
)
"""What the operator is told that this gateway enforces: a serial with more in it is not in force here."""


class InvalidRouteError(Exception):
    """An AgentRoute that cannot be served; the message says why."""


@dataclass(frozen=True, slots=True)
class Route:
    """One agent as its AgentRoute describes it."""

    name: str
    uid: str
    spec: AgentRouteSpec

    @property
    def leased(self) -> bool:
        """Whether a canary has a part of the new conversations, which it only keeps while the operator watches."""
        return any(r.role is Role.CANARY and 0 < r.weight < ALL_TRAFFIC for r in self.spec.revisions)

    @property
    def fallback(self) -> RouteRevision | None:
        """The revision that takes what no pin and no split decides: stable, else the heaviest one."""
        revisions = self.spec.revisions
        stable = next((r for r in revisions if r.role is Role.STABLE), None)
        return stable or max(revisions, key=lambda r: r.weight, default=None)


def parse_route(item: Mapping[str, Any]) -> Route:
    """Read an AgentRoute, leaving out fields that a newer operator may have added and the operator's own ledger.

    Raises:
        InvalidRouteError: if a field that routing needs is missing or wrong.

    """
    try:
        metadata, spec = item["metadata"], item["spec"]
        known = _pick(spec, _SPEC_FIELDS)
        if spec.get("jwt") is not None:
            known["jwt"] = _pick(spec["jwt"], _JWT_FIELDS)
        known["revisions"] = [_pick(revision, _REVISION_FIELDS) for revision in spec.get("revisions", [])]
        route = Route(metadata["name"], metadata["uid"], AgentRouteSpec.model_validate(known))
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"not an AgentRoute: {error!r}"
        raise InvalidRouteError(msg) from error
    except ValidationError as error:
        msg = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidRouteError(msg) from error
    _check_weights(route.spec.revisions)
    _check_keys(route.spec.jwt)
    return route


def _pick(item: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: item[field] for field in fields if field in item}


def _check_keys(jwt: JwtRule | None) -> None:
    """Envoy takes any text as keys, and then refuses every token."""
    if jwt is None:
        return
    try:
        keys = json.loads(jwt.jwks)["keys"]
    except (ValueError, KeyError, TypeError):
        keys = None
    if not isinstance(keys, list) or not keys:
        msg = "jwt.jwks: not a JSON Web Key Set with keys"
        raise InvalidRouteError(msg)


def _check_weights(revisions: tuple[RouteRevision, ...]) -> None:
    total = sum(revision.weight for revision in revisions)
    if revisions and total != ALL_TRAFFIC:
        msg = f"the weights sum to {total}, not to {ALL_TRAFFIC}"
        raise InvalidRouteError(msg)
    if len({revision.name for revision in revisions}) != len(revisions):
        msg = "a revision is named twice"
        raise InvalidRouteError(msg)
