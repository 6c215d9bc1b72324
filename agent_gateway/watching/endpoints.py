"""Which pods of a revision Envoy may send requests to, from the EndpointSlices of its Service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_PORT_NAME = "http"
_ADDRESS_TYPES = frozenset({"IPv4", "IPv6"})


class Endpoint(NamedTuple):
    """Address and port of a pod."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint with the conditions that its slice reports."""

    endpoint: Endpoint
    ready: bool
    serving: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of an EndpointSlice that routing needs."""

    name: str
    service: str
    candidates: tuple[Candidate, ...]


def parse_slice(item: Mapping[str, Any]) -> Slice:
    """Read an EndpointSlice; one with no usable address or port has no candidates."""
    metadata = item["metadata"]
    service = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL, "")
    port = _port(item.get("ports") or ())
    usable = port is not None and item.get("addressType") in _ADDRESS_TYPES
    endpoints = (item.get("endpoints") or ()) if usable else ()
    return Slice(metadata["name"], service, tuple(_candidate(e, port or 0) for e in endpoints if e.get("addresses")))


def choose(last: frozenset[Endpoint], slices: Iterable[Slice]) -> frozenset[Endpoint]:
    """Endpoints to use now, given those in use until now.

    Ready pods; if there are none, terminating ones that still serve; if there are none either, those of the last set
    that still exist (all NotReady at once is more likely one broken dependency than all pods broken). With no slice at
    all the last set stays. Addresses that the slices no longer know are dropped: another pod may have them soon.
    """
    found = tuple(slices)
    if not found:
        return last
    candidates = [candidate for part in found for candidate in part.candidates]
    ready = frozenset(c.endpoint for c in candidates if c.ready)
    serving = frozenset(c.endpoint for c in candidates if c.serving)
    return ready or serving or last & frozenset(c.endpoint for c in candidates)


def _candidate(item: Mapping[str, Any], port: int) -> Candidate:
    conditions = item.get("conditions") or {}
    terminating = conditions.get("terminating") is True
    ready = conditions.get("ready") is not False and not terminating
    serving = conditions.get("serving") is not False if "serving" in conditions else ready
    return Candidate(Endpoint(item["addresses"][0], port), ready, serving)


def _port(ports: Iterable[Mapping[str, Any]]) -> int | None:
    numbered = [port for port in ports if port.get("port")]
    named = [port for port in numbered if port.get("name") == _PORT_NAME]
    chosen = (named or numbered)[:1]
    return int(chosen[0]["port"]) if chosen else None
