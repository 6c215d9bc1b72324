"""Messages as documents: how the store keeps what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_runtime.core.loop import Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping


def message_document(message: Message) -> dict[str, Any]:
    """A message for JSON; parts that it does not have are left out."""
    document: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        document["tool_calls"] = [call_document(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        document["tool_call_id"] = message.tool_call_id
    return document


def message_of(document: Mapping[str, Any]) -> Message:
    """The message of a document.

    Raises
    ------
    KeyError
        If the document is not one.
    """
    calls = tuple(call_of(call) for call in document.get("tool_calls", ()))
    return Message(document["role"], document["content"], calls, document.get("tool_call_id"))


def call_document(call: ToolCall) -> dict[str, str]:
    """A tool call for JSON."""
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def call_of(document: Mapping[str, str]) -> ToolCall:
    """The tool call of a document.

    Raises
    ------
    KeyError
        If the document is not one.
    """
    return ToolCall(document["id"], document["name"], document["arguments"])
