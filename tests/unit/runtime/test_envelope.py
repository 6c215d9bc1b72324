"""What is the same for every answer."""

from __future__ import annotations

import json
import re

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from agent_runtime.envelope import Envelope, request_id_of
from agent_runtime.process import Drain

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def answered(app, drain=None):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    await Envelope(app, revision="a-1", drain=drain or Drain())(dict(SCOPE), receive, send)
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


async def test_answer_that_is_no_run_is_marked_as_excluded():
    status, headers, _ = await answered(Response("fine"))
    assert (status, headers["x-greylag-outcome"], headers["x-greylag-revision"]) == (200, "excluded", "a-1")
    assert "connection" not in headers


async def test_mark_of_a_run_is_kept():
    _, headers, _ = await answered(Response("fine", headers={"x-greylag-outcome": "error"}))
    assert headers["x-greylag-outcome"] == "error"


async def test_draining_process_asks_to_close_the_connection():
    _, headers, _ = await answered(Response("fine"), Drain(begun=True))
    assert headers["connection"] == "close"


async def test_unforeseen_failure_is_a_problem_that_only_the_gateway_counts():
    async def broken(scope, receive, send):
        raise RuntimeError("secret detail")

    status, headers, body = await answered(broken)
    assert (status, json.loads(body)["type"]) == (500, "urn:greylag:problem:internal")
    assert "x-greylag-outcome" not in headers
    assert b"secret detail" not in body


async def test_failure_after_the_answer_has_begun_is_not_answered_twice():
    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await answered(broken)


@pytest.mark.parametrize("given", ["request-7", "a.b:c/d+e=f_g-h", "x" * 128])
def test_request_id_that_is_fit_is_kept(given):
    assert request_id_of(Headers({"x-request-id": given})) == given


@pytest.mark.parametrize("given", ["", " ", "a b", "a\tb", "x" * 129, "<script>", "caf\u00e9", "a;b", "a\nb"])
def test_request_id_that_is_not_is_replaced(given):
    made = request_id_of(Headers(raw=[(b"x-request-id", given.encode("latin-1"))]))
    assert made != given
    assert re.fullmatch("[0-9a-f]{32}", made)


async def test_what_is_no_request_passes_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    await Envelope(app, revision="a-1", drain=Drain())({"type": "lifespan"}, None, None)
    assert seen == [{"type": "lifespan"}]
