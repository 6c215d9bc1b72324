"""Which part of a conversation the model is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.history import (
    BYTES_PER_TOKEN,
    MAX_SUMMED_CHARACTERS,
    MESSAGE_OVERHEAD_TOKENS,
    PastTurn,
    SummaryPlan,
    complete_turn,
    estimate_tokens,
    plan_summary,
    summary_message,
    summary_request,
    trim_history,
    turn_tokens,
)
from agent_runtime.core.loop import Message, ToolCall

CALL = ToolCall("c1", "kb_search", "{}")


def question(text="q"):
    return Message("user", text)


def answer(text="a"):
    return Message("assistant", text)


def with_tool(call=CALL):
    return (question(), Message("assistant", "", (call,)), Message("tool", "found", tool_call_id=call.id), answer())


@st.composite
def conversations(draw):
    sizes = draw(st.lists(st.integers(0, 400), max_size=12))
    turns = []
    for number, size in enumerate(sizes, 1):
        messages = with_tool() if draw(st.booleans()) else (question("x" * size), answer())
        turns.append(PastTurn(number, messages))
    return tuple(turns)


def test_tokens_are_estimated_from_bytes_and_rounded_up():
    assert estimate_tokens(question("")) == MESSAGE_OVERHEAD_TOKENS
    assert estimate_tokens(question("abcd")) == 1 + MESSAGE_OVERHEAD_TOKENS
    assert estimate_tokens(question("abcde")) == 2 + MESSAGE_OVERHEAD_TOKENS
    assert estimate_tokens(question("üüü")) == 2 + MESSAGE_OVERHEAD_TOKENS
    assert estimate_tokens(question("\ud800")) == 1 + MESSAGE_OVERHEAD_TOKENS


def test_calls_of_tools_are_counted():
    assert estimate_tokens(Message("assistant", "", (ToolCall("c", "abcd", "efgh"),))) == 2 + MESSAGE_OVERHEAD_TOKENS


@given(conversations(), st.integers(0, 500))
def test_trimming_keeps_the_newest_turns_whole_and_as_many_as_fit(turns, limit):
    kept = trim_history(turns, limit)
    assert kept == turns[len(turns) - len(kept) :]
    size = sum(map(turn_tokens, kept))
    assert size <= limit
    if len(kept) < len(turns):
        assert size + turn_tokens(turns[len(turns) - len(kept) - 1]) > limit


def test_trimming_counts_as_it_is_told():
    turns = tuple(PastTurn(number, (question(), answer())) for number in range(1, 5))
    assert [turn.number for turn in trim_history(turns, 4, count=lambda _message: 1)] == [3, 4]


def test_old_small_turn_is_not_kept_beyond_a_large_one():
    turns = (PastTurn(1, (question(),)), PastTurn(2, (question("x" * 1000),)), PastTurn(3, (question(),)))
    assert [turn.number for turn in trim_history(turns, 50)] == [3]


@given(conversations(), st.integers(1, 500))
def test_summary_is_planned_only_for_what_does_not_fit_and_splits_it_in_two(turns, limit):
    plan = plan_summary(turns, limit)
    total = sum(map(turn_tokens, turns))
    assert (plan is None) == (total <= limit)
    if plan is not None:
        assert plan.older + plan.recent == turns
        assert plan.older
        assert plan.through == plan.older[-1].number
        assert sum(map(turn_tokens, plan.recent)) <= limit / 2


@given(conversations(), st.integers(1, 500))
def test_question_for_a_summary_is_bounded(turns, limit):
    plan = plan_summary(turns, limit)
    if plan is not None:
        system, asked = summary_request(plan)
        assert (system.role, asked.role) == ("system", "user")
        assert len(asked.content) <= limit * BYTES_PER_TOKEN


def test_question_for_a_summary_holds_what_was_said_as_text():
    turns = (PastTurn(1, with_tool()), PastTurn(2, (question("x" * 4000), answer())))
    plan = plan_summary(turns, 100)
    asked = summary_request(plan)[1].content
    assert asked.endswith("assistant: a")
    short = plan_summary((*turns[:1], PastTurn(2, (question("y" * 300), answer()))), 100)
    assert "[called kb_search with {}]" in summary_request(short)[1].content


def test_long_message_does_not_push_the_others_out_of_a_summary():
    turns = (PastTurn(1, (question("keep me"), answer("z" * 100_000))), PastTurn(2, (question(), answer())))
    assert "keep me" in summary_request(plan_summary(turns, 2000))[1].content


def test_summary_is_no_instruction():
    message = summary_message("Bob wants tea.")
    assert message.role == "user"
    assert message.content.endswith("Bob wants tea.")
    assert "not an instruction" in message.content


def test_complete_turn_stays_as_it_is():
    assert complete_turn(with_tool()) == with_tool()


def test_instructions_are_not_remembered():
    assert complete_turn((Message("system", "Be kind."), question(), answer())) == (question(), answer())


def test_calls_without_a_result_and_results_without_a_call_are_not_remembered():
    open_call = Message("assistant", "let me see", (CALL, ToolCall("c2", "kb_read", "{}")))
    spoken = (
        question(),
        open_call,
        Message("tool", "found", tool_call_id="c1"),
        Message("tool", "?", tool_call_id="c9"),
    )
    assert complete_turn(spoken) == (
        question(),
        Message("assistant", "let me see", (CALL,)),
        Message("tool", "found", tool_call_id="c1"),
    )


def test_message_of_lost_calls_alone_is_not_remembered():
    assert complete_turn((question(), Message("assistant", "", (CALL,)))) == (question(),)


@pytest.mark.parametrize(("bound", "words"), [(10, 50), (300, 50), (400, 60), (2000, 300), (16_000, 2400)])
def test_a_summary_may_have_words_for_a_fourth_of_the_bound_but_never_too_few_to_say_anything(bound, words):
    order = summary_request(SummaryPlan((PastTurn(1, (question(),)),), (), bound))[0]
    assert order.content.endswith(f"At most {words} words.")


@pytest.mark.parametrize(("turns", "bound", "older"), [(10, 8, 6), (10, 9, 6), (3, 2, 2), (2, 1, 2)])
def test_turns_that_fill_half_of_the_bound_stay_beside_a_summary(turns, bound, older):
    said = tuple(PastTurn(number, (question(),)) for number in range(1, turns + 1))
    plan = plan_summary(said, bound, count=lambda _message: 1)
    assert plan == SummaryPlan(said[:older], said[older:], bound)
    assert plan_summary(said, turns, count=lambda _message: 1) is None


def test_a_summary_is_made_of_who_said_what_with_the_calls_behind_the_words():
    asking = Message("assistant", "let me see", (CALL, ToolCall("c2", "kb_read", '{"a": 1}')))
    result = Message("tool", "found", tool_call_id="c1")
    turns = (PastTurn(1, (question("why?"), asking, result)), PastTurn(2, (answer(),)))
    assert summary_request(SummaryPlan(turns, (), 1000))[1].content.splitlines() == [
        "user: why?",
        'assistant: let me see [called kb_search with {}] [called kb_read with {"a": 1}]',
        "tool: found",
        "assistant: a",
    ]


def test_of_a_long_message_a_summary_reads_the_beginning_and_of_many_turns_the_end():
    turns = (PastTurn(1, (question("z" * 10_000),)),)
    assert summary_request(SummaryPlan(turns, (), 5000))[1].content == "user: " + "z" * MAX_SUMMED_CHARACTERS
    assert summary_request(SummaryPlan(turns, (), 5))[1].content == "z" * 5 * BYTES_PER_TOKEN


def test_a_text_and_the_arguments_of_its_calls_are_counted_together():
    message = Message("assistant", "abc", (ToolCall("c", "de", "üf"), ToolCall("c", "g", "h")))
    assert estimate_tokens(message) == 3 + MESSAGE_OVERHEAD_TOKENS
    assert turn_tokens(PastTurn(1, (message, message))) == 2 * (3 + MESSAGE_OVERHEAD_TOKENS)
