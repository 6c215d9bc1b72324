"""Which part of a conversation the model is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.history import (
    BYTES_PER_TOKEN,
    MESSAGE_OVERHEAD_TOKENS,
    PastTurn,
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
