"""The OpenAI protocol as callers speak it: `POST /v1/chat/completions` to and from what a run knows."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Tag
from pydantic_core import PydanticCustomError

from agent_runtime.core.loop import Message, ToolCall, ToolSpec
from agent_runtime.routes.wire import LIST, MAX_QUERY_CHARACTERS, OBJECT, TEXT, JsonObject, either

if TYPE_CHECKING:
    from agent_runtime.agent import Answer
    from agent_runtime.llm.client import Run

MAX_MESSAGES = 1000
MAX_CLIENT_TOOLS = 64
NO_TOOLS = "none"
"""Choice of a caller who wants none of his tools to be asked for; the agent's own are its own affair."""

_KIND_OF_PART = re.compile("[a-z_]{1,40}")
_FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}


class _Wire(BaseModel):
    """Lenient: clients send many fields that are the agent's to decide, and none of them may break a call."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def _only_text(kind: object) -> object:
    """Refuse a part that is no text, by its name where it looks like one: it may be anything."""
    if kind == "text":
        return kind
    named = kind if isinstance(kind, str) and _KIND_OF_PART.fullmatch(kind) else "this type"
    raise PydanticCustomError("kind_of_part", "{named} is not understood; only text parts are", {"named": named})


class TextPart(_Wire):
    """A part of a message; only text is understood."""

    type: Annotated[Literal["text"], BeforeValidator(_only_text)]
    text: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS)]


class FunctionCall(_Wire):
    """Name and arguments of a call."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS)] = ""


class WireToolCall(_Wire):
    """A call that an earlier answer asked for."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    function: FunctionCall


Text = Annotated[str, Tag(TEXT)]
LongText = Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS), Tag(TEXT)]
Content = Annotated[LongText | Annotated[list[TextPart], Tag(LIST)], either("a text or a list of text parts")]
TextOrObject = Annotated[Text | Annotated[JsonObject, Tag(OBJECT)], either("a text or an object")]
TextOrTexts = Annotated[Text | Annotated[list[str], Tag(LIST)], either("a text or a list of texts")]


class WireMessage(_Wire):
    """One message of the caller."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    tool_calls: Annotated[list[WireToolCall], Field(max_length=MAX_CLIENT_TOOLS)] | None = None
    tool_call_id: Annotated[str, Field(max_length=128)] | None = None

    @property
    def text(self) -> str:
        """Content as one text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class WireFunction(_Wire):
    """A tool that the caller runs."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    description: Annotated[str, Field(max_length=4096)] = ""
    parameters: JsonObject = Field(default={})


class WireTool(_Wire):
    """A tool of type function."""

    type: Literal["function"]
    function: WireFunction


class StreamOptions(_Wire):
    """What a stream shows beside the text."""

    include_usage: bool = False


class ChatRequest(_Wire):
    """A call of the OpenAI protocol. Model and sampling are the agent's: such fields are accepted and not used.

    Fields that would change what an answer is, and that no agent follows, are refused: see `chat_checks`.
    """

    messages: Annotated[list[WireMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: Annotated[str, Field(max_length=256)] = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    response_format: JsonObject | None = None
    tools: Annotated[list[WireTool], Field(max_length=MAX_CLIENT_TOOLS)] | None = None
    tool_choice: TextOrObject | None = None
    functions: list[JsonObject] | None = None
    function_call: TextOrObject | None = None
    stop: TextOrTexts | None = None

    def run_messages(self) -> tuple[Message, ...]:
        """Messages for the run; what a caller says as system has no more weight than what it says as user."""
        return tuple(_message(message) for message in self.messages)

    def client_tools(self) -> tuple[ToolSpec, ...]:
        """Tools that the caller runs."""
        if self.tool_choice == NO_TOOLS:
            return ()
        functions = [tool.function for tool in self.tools or ()]
        return tuple(
            ToolSpec(f.name, f.name, f.description, f.parameters or {"type": "object", "properties": {}})
            for f in functions
        )


def _message(message: WireMessage) -> Message:
    calls = tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ())
    match message.role:
        case "assistant":
            return Message("assistant", message.text, calls)
        case "tool":
            return Message("tool", message.text, tool_call_id=message.tool_call_id or "")
        case _:
            return Message("user", message.text)


def completion(answer: Answer, run: Run | None, identity: str, agent: str) -> dict[str, Any]:
    """Document of a whole answer."""
    # Null stands beside calls alone: a caller sends the message back, and elsewhere it would be one without content.
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or (None if answer.client_calls else "")}
    if answer.client_calls:
        message["tool_calls"] = [_call(call) for call in answer.client_calls]
    return {
        **_head("chat.completion", identity, agent),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(answer), "logprobs": None}],
        "usage": usage_document(run),
    }


def chunk(identity: str, agent: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Document of one part of a streamed answer."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
    return {**_head("chat.completion.chunk", identity, agent), "choices": choices}


def usage_chunk(identity: str, agent: str, run: Run | None) -> dict[str, Any]:
    """Last part of a stream that was asked for usage."""
    return {**_head("chat.completion.chunk", identity, agent), "choices": [], "usage": usage_document(run)}


def call_delta(answer: Answer) -> dict[str, Any]:
    """Delta with the calls of tools that the caller runs."""
    return {"tool_calls": [{"index": place, **_call(call)} for place, call in enumerate(answer.client_calls)]}


def finish_reason(answer: Answer) -> str:
    """Reason in the words of the protocol."""
    return answer.finish_reason if answer.finish_reason in _FINISH_REASONS else "stop"


def usage_document(run: Run | None) -> dict[str, int]:
    """Tokens of the whole run, over all its model calls."""
    sent, answered = (0, 0) if run is None else (run.input_tokens, run.output_tokens)
    return {"prompt_tokens": sent, "completion_tokens": answered, "total_tokens": sent + answered}


def _head(kind: str, identity: str, agent: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{identity}", "object": kind, "created": int(time.time()), "model": agent}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
