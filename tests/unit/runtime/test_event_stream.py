"""Server-sent events, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.llm import event_stream
from agent_runtime.llm.event_stream import EventStream, EventTooLarge


def read(*chunks):
    events = EventStream()
    return [data for chunk in chunks for data in events.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data:one\n\n", [b"one"]),
        (b"data:  one\n\n", [b" one"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b": keep-alive\n\ndata: one\n\n", [b"one"]),
        (b"event: x\nid: 7\nretry: 5\ndata: one\n\n", [b"one"]),
        (b"event: x\n\n", []),
        (b"\n\n\n", []),
        (b"data\ndata: one\n\n", [b"\none"]),
        (b"data: one\n", []),
        (b"data: one", []),
        (b"database: one\n\n", []),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_data_of_complete_events_is_read_whatever_ends_a_line(text, data, end):
    assert read(text.replace(b"\n", end)) == data


TEXT = 'data: {"a": "ä€😀"}\r\n\r\n: x\n\ndata: one\rdata: two\r\r\ndata: [DONE]\n\n'.encode()


@given(st.lists(st.integers(0, len(TEXT))))
def test_cuts_change_nothing(cuts):
    places = [0, *sorted(cuts), len(TEXT)]
    chunks = [TEXT[start:end] for start, end in pairwise(places)]
    assert read(*chunks) == read(TEXT) == ['{"a": "ä€😀"}'.encode(), b"one\ntwo", b"[DONE]"]


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 30, b"data: xxxxxx\n" * 4])
def test_an_event_that_does_not_end_is_refused(monkeypatch, chunk):
    monkeypatch.setattr(event_stream, "MAX_EVENT_BYTES", 20)
    with pytest.raises(EventTooLarge):
        read(chunk)


def test_many_small_events_are_no_large_one(monkeypatch):
    monkeypatch.setattr(event_stream, "MAX_EVENT_BYTES", 20)
    assert len(read(*[b"data: xxxxxx\n\n"] * 10)) == 10
