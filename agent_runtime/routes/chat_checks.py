"""What a provider would refuse of a chat is refused here: it is the caller's mistake, and no failure of the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runtime.routes.chat_wire import NO_TOOLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agent_runtime.routes.chat_wire import ChatRequest, WireMessage

    Wrong = tuple[str, str]
    """A field and what is wrong with it."""


def wrong_fields(body: ChatRequest, own_tools: Collection[str]) -> Iterator[Wrong]:
    """What is wrong with a request; `own_tools` are the names that tools of the agent have on the wire."""
    yield from _without_content(body.messages)
    yield from _unpaired(body.messages)
    yield from _not_followed(body)
    taken = set(own_tools)
    for place, tool in enumerate(body.tools or ()):
        if tool.function.name in taken:
            yield f"tools.{place}.function.name", "The name is that of another tool"
        taken.add(tool.function.name)


def _not_followed(body: ChatRequest) -> Iterator[Wrong]:
    """Fields that a caller relies on and no agent follows: an answer as if they were not there would be a wrong one."""
    if body.tool_choice not in (None, "auto", NO_TOOLS):
        yield "tool_choice", "The agent decides which tools it asks for: auto, none, or leave it out"
    if body.functions:
        yield "functions", "Use tools"
    if body.function_call not in (None, "auto", NO_TOOLS):
        yield "function_call", "Use tools"
    if body.stop:
        yield "stop", "An agent's answer ends where the agent ends it: leave it out"


def _without_content(messages: list[WireMessage]) -> Iterator[Wrong]:
    """Messages that say nothing; a tool may well have given an empty text, and instructions may be empty."""
    for place, message in enumerate(messages):
        field, nothing = f"messages.{place}.content", message.content in (None, [])
        if message.role == "assistant":
            if nothing and not message.tool_calls:
                yield field, "Only a message with tool_calls has no content: give the text, or leave the message out"
        elif nothing or (message.role == "user" and not message.text):
            yield field, f"A message of role {message.role} needs content: a text or a list of text parts"


def _unpaired(messages: list[WireMessage]) -> Iterator[Wrong]:
    """Calls of tools that are not followed by their results, and results that follow no call.

    A call without a result would be the agent's to make, and callers have none of its tools.
    """
    asked_at, waiting = 0, set[str]()
    for place, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                yield f"messages.{place}.tool_call_id", "It is of no call that waits for its result here"
            waiting.discard(message.tool_call_id or "")
            continue
        if waiting:
            yield _without_results(asked_at)
        ids = [call.id for call in message.tool_calls or ()] if message.role == "assistant" else []
        asked_at, waiting = place, set(ids)
        if len(ids) > len(waiting):
            yield f"messages.{place}.tool_calls", "Ids of calls must differ"
    if waiting:
        yield _without_results(asked_at)


def _without_results(place: int) -> Wrong:
    return f"messages.{place}.tool_calls", "The next messages must be the results, one of role tool for each call"
