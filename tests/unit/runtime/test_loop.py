"""What the agent says first to the model, and how often it may ask."""

from __future__ import annotations

import pytest

from agent_runtime.core.loop import Message, ToolSpec, iteration_limit, opening_messages

SPOKEN = (Message("user", "hi"), Message("assistant", "hello"), Message("user", "how?"))


def test_instructions_stand_before_what_was_said():
    assert opening_messages("Be kind.", SPOKEN) == (Message("system", "Be kind."), *SPOKEN)


@pytest.mark.parametrize("spoken", [(), SPOKEN, list(SPOKEN)])
def test_an_agent_without_instructions_sends_no_empty_message(spoken):
    assert opening_messages("", spoken) == tuple(spoken)


@pytest.mark.parametrize(("requested", "allowed", "limit"), [(3, 10, 3), (10, 3, 3), (5, 5, 5)])
def test_a_caller_may_ask_for_fewer_iterations_and_gets_no_more_than_the_agent_allows(requested, allowed, limit):
    assert iteration_limit(requested, allowed) == limit


def test_a_tool_that_says_nothing_is_not_called_again_after_it_may_have_done_its_work():
    assert not ToolSpec("kb.write", "kb__write", "Writes.", {}).idempotent
