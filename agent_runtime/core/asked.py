"""What is said beside questions and answers: calls of tools, descriptions of tools, formats. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent_runtime.core.loop import Message, ToolSpec


def beside_the_question(
    messages: Sequence[Message], tools: Sequence[ToolSpec], response_format: Mapping[str, Any] | None
) -> str:
    """All that a caller tells the model, as one text, a piece a line; JSON stands there as it is and as it reads."""
    return "\n".join(_pieces(messages, tools, response_format))


def all_of_arguments(arguments: str) -> str:
    """Arguments of a call as they are and as they read, a piece a line."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return "\n".join([arguments, *_texts(value)])


def _pieces(
    messages: Sequence[Message], tools: Sequence[ToolSpec], response_format: Mapping[str, Any] | None
) -> Iterator[str]:
    for message in messages:
        if message.tool_call_id:
            yield message.tool_call_id
        for call in message.tool_calls:
            yield from (call.id, call.name, all_of_arguments(call.arguments))
    for tool in tools:
        yield from (tool.wire_name, tool.description)
        yield from _texts(tool.parameters)
    yield from _texts(response_format)


def _texts(value: object) -> Iterator[str]:
    """Every text and name in a JSON value."""
    left = [value]
    while left:
        node = left.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            left += [*node.values(), *node]
        elif isinstance(node, list):
            left += node
