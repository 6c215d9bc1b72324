"""Streams that break off and fallbacks in the middle of them, asked of real processes by HTTP (cases 16 and 17)."""

from __future__ import annotations

import json

import pytest

from tests.support.faulty_provider import (
    BEGIN,
    answers,
    delta,
    ends_early,
    errs_in_stream,
    is_cut,
    is_malformed,
    refuses,
    resets_after_headers,
    streams,
)
from tests.support.runtimes import document_of, endpoint_of

ONCE = {"maxAttempts": 1}
GUARDED = {"guards": {"blockedOutput": ["zzz"]}}
CUTS = {
    "orderly end with no finish reason": ends_early(),
    "orderly end that claims to be done": ends_early(done=True),
    "reset": is_cut(),
    "chunk that is no JSON": is_malformed(),
    "error event": errs_in_stream(),
}


def texts(events):
    return "".join(event["text"] for event in events if event["type"] == "delta")


@pytest.mark.parametrize("case", CUTS)
async def test_case_16_cut_answer_never_looks_complete(start_runtime, provider, problem, case):
    provider.script("gpt-x", CUTS[case])
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url), retry=ONCE))
    assert problem(await runtime.run()) == (502, "model-unavailable")
    last = (await runtime.events())[-1]
    assert (last["type"], last["problem"]["type"]) == ("error", "urn:greylag:problem:stream-broken")
    asked = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with runtime.http.post(f"{runtime.url}/v1/chat/completions", json=asked) as response:
        shown = [line[6:] async for line in response.content if line.startswith(b"data: ")]
    assert "error" in json.loads(shown[-1])
    assert not any(choice["finish_reason"] for part in shown[:-1] for choice in json.loads(part)["choices"])
    assert {line["outcome"] for line in runtime.process.lines("run")} == {"error"}


async def test_case_16_provider_that_never_gives_a_reason_is_believed_where_that_is_known(start_runtime, provider):
    provider.script("llama3", ends_early("Hello from Ollama", done=True))
    document = document_of(endpoint_of("llama3", "http://ollama:11434/v1"), retry=ONCE)
    runtime = await start_runtime(document, HTTP_PROXY=provider.url)
    status, _, body = await runtime.run()
    assert (status, body["answer"]) == (200, "Hello from Ollama")


@pytest.mark.parametrize("case", CUTS)
async def test_case_17_no_other_model_goes_on_with_text_that_was_shown(start_runtime, provider, case):
    provider.script("gpt-x", CUTS[case])
    document = document_of(*(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")))
    runtime = await start_runtime(document)
    events = await runtime.events()
    assert events[-1]["type"] == "error"
    assert provider.hits == {"gpt-x": 1}
    assert "Hello, world".startswith(texts(events))


async def test_case_13_model_whose_answers_break_off_is_left_alone(start_runtime, provider):
    provider.script("gpt-x", is_cut())
    document = document_of(
        *(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")), breaker={"failureThreshold": 2}
    )
    runtime = await start_runtime(document)
    assert [(await runtime.events())[-1]["type"] for _ in range(3)] == ["error", "error", "completed"]
    assert provider.hits == {"gpt-x": 2, "gpt-y": 1}
    assert [breaker["model"] for breaker in (await runtime.document("/report"))["breakers"]] == ["gpt-x"]


@pytest.mark.parametrize(
    "fault", [refuses(500), resets_after_headers(), streams(BEGIN), streams(BEGIN, delta(reasoning_content="Hm."))]
)
async def test_case_17_before_the_first_text_another_model_answers_once_and_is_told_nothing_else(
    start_runtime, provider, fault
):
    provider.script("gpt-x", fault)
    provider.script("gpt-y", answers("All of it"))
    document = document_of(*(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")), retry=ONCE)
    runtime = await start_runtime(document)
    events = await runtime.events()
    assert texts(events) == events[-1]["result"]["answer"] == "All of it"
    asked, again = (call.body["messages"] for call in provider.calls)
    assert asked == again == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]


async def test_case_17_stream_is_tried_again_before_its_first_text_also_without_a_fallback(start_runtime, provider):
    provider.script("gpt-x", resets_after_headers(), answers("All of it"))
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    events = await runtime.events()
    assert (texts(events), events[-1]["type"], provider.hits["gpt-x"]) == ("All of it", "completed", 2)


@pytest.mark.parametrize("case", CUTS)
async def test_case_17_text_that_the_guard_still_held_is_dropped_and_another_model_answers(
    start_runtime, provider, case
):
    provider.script("gpt-x", CUTS[case])
    provider.script("gpt-y", answers("All of it"))
    document = document_of(
        *(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")), retry=ONCE, **GUARDED
    )
    runtime = await start_runtime(document)
    events = await runtime.events()
    assert texts(events) == events[-1]["result"]["answer"] == "All of it"
    assert events[-1]["result"]["model"] == "gpt-y"
    assert provider.hits == {"gpt-x": 1, "gpt-y": 1}


async def test_case_17_text_of_which_the_guard_let_a_part_out_is_not_taken_over(start_runtime, provider):
    text = "word " * 200
    provider.script("gpt-x", is_cut(text))
    document = document_of(*(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")), **GUARDED)
    runtime = await start_runtime(document)
    events = await runtime.events()
    assert events[-1]["problem"]["type"] == "urn:greylag:problem:stream-broken"
    assert text.startswith(texts(events))
    assert (bool(texts(events)), provider.hits) == (True, {"gpt-x": 1})
