"""Which pods of a revision are used."""

from __future__ import annotations

from typing import Any

import pytest

from agent_gateway.watching.endpoints import Endpoint, choose, parse_slice
from tests.unit.gateway.builders import pod, slice_item

A, B, C = (Endpoint(f"10.0.0.{n}", 8080) for n in (1, 2, 3))
READY = {"ready": True, "serving": True, "terminating": False}
NOT_READY = {"ready": False, "serving": False, "terminating": False}
LEAVING = {"ready": False, "serving": True, "terminating": True}
GONE_BAD = {"ready": False, "serving": False, "terminating": True}


@pytest.mark.parametrize(
    ("last", "pods", "chosen"),
    [
        (set(), [pod(A.address, **READY), pod(B.address, **NOT_READY)], {A}),
        ({A}, [pod(A.address, **LEAVING), pod(B.address, **READY)], {B}),
        ({A}, [pod(A.address, **LEAVING), pod(B.address, **NOT_READY)], {A}),
        ({A, B}, [pod(A.address, **NOT_READY), pod(B.address, **NOT_READY)], {A, B}),
        ({A, B}, [pod(A.address, **NOT_READY), pod(C.address, **NOT_READY)], {A}),
        ({A, B}, [pod(C.address, **NOT_READY)], set()),
        ({A, B}, [], set()),
        ({A}, [pod(A.address, **GONE_BAD)], {A}),
        (set(), [pod(A.address)], {A}),
        (set(), [pod(A.address, ready=True)], {A}),
        (set(), [pod(A.address, ready=False)], set()),
    ],
)
def test_the_endpoint_table(last: set[Endpoint], pods: list[dict[str, Any]], chosen: set[Endpoint]) -> None:
    assert choose(frozenset(last), [parse_slice(slice_item("svc", *pods))]) == chosen


def test_without_any_slice_the_last_endpoints_stay() -> None:
    assert choose(frozenset({A}), []) == {A}


def test_all_slices_of_a_service_count() -> None:
    parts = [parse_slice(slice_item("svc", pod(e.address, **READY))) for e in (A, B)]
    assert choose(frozenset(), parts) == {A, B}


@pytest.mark.parametrize(
    ("fields", "port"),
    [
        ({"ports": [{"name": "metrics", "port": 9090}, {"name": "http", "port": 8000}]}, 8000),
        ({"ports": [{"name": "", "port": 8000}]}, 8000),
        ({"ports": []}, None),
        ({"ports": None}, None),
        ({"addressType": "FQDN"}, None),
        ({"addressType": "IPv6"}, 8080),
    ],
)
def test_the_port_named_http_is_used_else_the_first(fields: dict[str, Any], port: int | None) -> None:
    part = parse_slice(slice_item("svc", pod(A.address, **READY), **fields))
    assert [c.endpoint.port for c in part.candidates] == ([] if port is None else [port])


def test_a_slice_without_endpoints_or_labels_is_read() -> None:
    item = slice_item("svc", endpoints=None)
    del item["metadata"]["labels"]
    assert parse_slice(item).service == ""
