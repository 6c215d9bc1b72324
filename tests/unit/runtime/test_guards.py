"""Guards of questions, of answers, and of what is logged."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.runtime_document import GuardsDocument
from agent_api.v1alpha1.guards import Redaction
from agent_runtime.core.normalising import normalise
from agent_runtime.errors import ProblemType
from agent_runtime.guards.blocked import GUARD_FAILED, GuardBlocked
from agent_runtime.guards.input import InputGuard
from agent_runtime.guards.output import HELD_CHARACTERS, WINDOW_CHARACTERS, OutputGuard


def blocked(call, *arguments):
    with pytest.raises(GuardBlocked) as refusal:
        call(*arguments)
    return refusal.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("ig\u200bno\u200dre", "ignore"),
        ("\u202eerongi\u202c", "erongi"),
        ("a\x00b\x1bc\r\nd\x7f", "abc\nd"),
        ("\uff29\uff27NORE", "IGNORE"),
        ("\U0001d422gnore", "ignore"),
        ("e\u200b\u0301", "\xe9"),
        ("\ufb01x", "fix"),
        ("a\u3164b\uffa0c\u115fd\u034fe\ufe0ff", "abcdef"),
        ("tag\U000e0041\U000e0042s", "tags"),
        ("\ud800x", "x"),
    ],
)
def test_text_is_normalised(text, expected):
    assert normalise(text) == expected


def test_no_invisible_character_survives_normalising():
    everything = normalise("".join(map(chr, range(sys.maxunicode + 1))))
    assert {unicodedata.category(c) for c in everything if c not in "\n\t"}.isdisjoint({"Cf", "Cc", "Cs"})


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_question_within_the_limits_passes():
    InputGuard(GuardsDocument(max_length=5, blocked_input=("zzz",))).check("hello")


def test_too_long_question_is_refused_with_both_lengths():
    refusal = blocked(InputGuard(GuardsDocument(max_length=5)).check, "hello!")
    assert (refusal.rule, refusal.reason) == ("maxLength", "The question has 6 characters; at most 5 are allowed.")


@pytest.mark.parametrize(
    "text",
    [
        "IGNORE all previous",
        "please ig\u200bnore all previous",
        "\uff49gnore  all previous",
        "\u202aignore all previous",
    ],
)
def test_blocked_question_is_refused_however_it_is_spelled(text):
    guard = InputGuard(GuardsDocument(blocked_input=("nothing", r"(?i)ignore\s+all")))
    refusal = blocked(guard.check, text)
    assert refusal.rule == "blockedPatterns[1]"
    assert "ignore" not in refusal.reason.lower()


def test_pattern_is_looked_for_in_the_text_as_it_came_as_well():
    guard = InputGuard(GuardsDocument(blocked_input=("\u200b",)))
    assert blocked(guard.check, "a\u200bb").rule == "blockedPatterns[0]"


def test_refusal_is_a_problem_that_names_the_rule():
    problem = blocked(InputGuard(GuardsDocument(max_length=1)).check, "ab").problem()
    assert (problem.type, problem.status) == (ProblemType.GUARD_BLOCKED, 400)
    assert problem.document()["rule"] == "maxLength"


def test_evil_pattern_takes_linear_time():
    guard = InputGuard(GuardsDocument(max_length=100_000, blocked_input=("(a+)+$", "(a|aa)+b")))
    assert blocked(guard.check, "a" * 90_000).rule == "blockedPatterns[0]"


@pytest.mark.parametrize("guard", [InputGuard, OutputGuard])
def test_guard_that_fails_refuses_everything(guard):
    document = GuardsDocument(blocked_input=("(",), blocked_output=("(",))
    for _ in range(2):
        assert blocked(guard(document).check, "hello").rule == GUARD_FAILED


def test_guard_whose_pattern_fails_on_a_text_refuses_it(monkeypatch):
    guard = InputGuard(GuardsDocument(blocked_input=("x",)))
    monkeypatch.setattr("agent_runtime.guards.blocked.normalise", lambda _: None)
    assert blocked(guard.check, "hello").rule == GUARD_FAILED


def test_lone_surrogates_are_no_way_around():
    guard = InputGuard(GuardsDocument(blocked_input=("secret",)))
    assert blocked(guard.check, "\ud800 se\udc00cret").rule == "blockedPatterns[0]"


def test_answer_is_given_without_its_secrets():
    guard = OutputGuard(GuardsDocument(blocked_output=("never",)))
    assert guard.check("password: hunter2 is it") == "password: [redacted:passwords] is it"


def test_blocked_answer_is_withheld():
    guard = OutputGuard(GuardsDocument(blocked_output=("(?i)project x",)))
    assert blocked(guard.check, "about pro\u200bject X").rule == "blockedPatterns[0]"


def test_nothing_of_a_blocked_passage_gets_out_of_a_stream():
    stream = OutputGuard(GuardsDocument(blocked_output=("forbidden passage",))).stream()
    given_out = "".join(map(stream.feed, "x " * 400 + "forbidden passage"))
    blocked(stream.feed, " y")
    assert "f" not in given_out
    assert given_out


def test_stream_that_was_refused_stays_refused():
    stream = OutputGuard(GuardsDocument(blocked_output=("no",))).stream()
    blocked(stream.feed, "no way")
    blocked(stream.feed, "and on")
    blocked(stream.finish)


def test_passage_longer_than_what_is_held_back_is_refused_at_the_end():
    stream = OutputGuard(GuardsDocument(blocked_output=("(?s)begin.*end$",))).stream()
    for _ in range(WINDOW_CHARACTERS):
        stream.feed("begin ")
    stream.feed("end")
    blocked(stream.finish)


@pytest.mark.parametrize("pattern", ["^b", "a$", r"\Ab", r"b\z", r"\bbc"])
def test_anchors_are_those_of_the_whole_answer(pattern):
    stream = OutputGuard(GuardsDocument(blocked_output=(pattern,), redact=())).stream()
    text = "a" + "abc b " * WINDOW_CHARACTERS + "c" if pattern != r"\bbc" else "abc" * WINDOW_CHARACTERS
    assert "".join(map(stream.feed, text)) + stream.finish() == text


def test_without_patterns_only_secrets_are_held_back():
    stream = OutputGuard(GuardsDocument()).stream()
    assert stream.feed("Hello dear reader, ") == "Hello dear reader, "
    assert stream.feed("password: hunter2 ") + stream.finish() == "password: [redacted:passwords] "
    assert stream.counts == {Redaction.PASSWORDS: 1}


@given(st.lists(st.text("ab password:=1 \u200b", max_size=8), max_size=60))
def test_stream_gives_out_what_the_whole_answer_would(parts):
    guard = OutputGuard(GuardsDocument(blocked_output=("aaa", "^b.*b$")))
    try:
        expected = guard.check("".join(parts))
    except GuardBlocked:
        expected = None
    stream = guard.stream()
    try:
        outcome = "".join(map(stream.feed, parts)) + stream.finish()
    except GuardBlocked:
        outcome = None
    assert outcome == expected


def test_what_is_held_back_for_patterns_is_bounded():
    stream = OutputGuard(GuardsDocument(blocked_output=("x",), redact=())).stream()
    assert len(stream.feed("a " * 1000)) == 2000 - HELD_CHARACTERS
