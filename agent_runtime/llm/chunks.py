"""Reads the chunks of a streamed answer, which the OpenAI client does not validate, and puts the answer together."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_runtime.core.loop import ToolCall
from agent_runtime.llm.client import Usage

MAX_ANSWER_CHARACTERS = 4 * 1024 * 1024
MAX_TOOL_CALLS = 64


class ChunkMalformed(Exception):
    """A chunk is not what the protocol says."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of a tool call: fragments with the same index belong together."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one chunk adds; `begins` tells that the model has produced something, visible or not.

    `thought` is the length of reasoning that is not part of the answer.
    """

    text: str = ""
    begins: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    fragments: tuple[Fragment, ...] = ()
    thought: int = 0

    @property
    def size(self) -> int:
        """Bytes that the model produced: text, calls of tools, and thoughts, which are paid for as well."""
        calls = sum(len(part.arguments) + len(part.name) for part in self.fragments)
        return len(self.text.encode()) + calls + self.thought


@dataclass(slots=True)
class AnswerParts:
    """The answer as far as it has arrived."""

    begun: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    length: int = 0
    _texts: list[str] = field(default_factory=list)
    _calls: dict[int, list[Fragment]] = field(default_factory=dict)

    def add(self, delta: Delta) -> None:
        """Append a delta; raises ChunkMalformed if the answer grows beyond any bound."""
        self.begun = self.begun or delta.begins
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage
        if delta.text:
            self._grow(len(delta.text))
            self._texts.append(delta.text)
        for fragment in delta.fragments:
            self._grow(len(fragment.arguments) + len(fragment.name))
            self._calls.setdefault(fragment.index, []).append(fragment)
            if len(self._calls) > MAX_TOOL_CALLS:
                raise ChunkMalformed("too many tool calls")

    def _grow(self, characters: int) -> None:
        self.length += characters
        if self.length > MAX_ANSWER_CHARACTERS:
            raise ChunkMalformed("answer too long")

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far; one without an id gets one by its place, so that its result can name it."""
        return tuple(_join(index, parts) for index, parts in sorted(self._calls.items()))


def _join(index: int, parts: list[Fragment]) -> ToolCall:
    identity = next((part.id for part in parts if part.id), f"call_{index}")
    name = next((part.name for part in parts if part.name), "")
    return ToolCall(identity, name, "".join(part.arguments for part in parts))


def read_chunk(chunk: object) -> Delta:
    """Delta that a chunk carries; raises ChunkMalformed."""
    match chunk:
        case {"choices": [{**choice}, *_], **rest}:
            finish_reason = _text(choice.get("finish_reason"))
            return _delta(choice.get("delta"), finish_reason, _usage(rest.get("usage")))
        case {"choices": [], **rest}:
            return Delta(usage=_usage(rest.get("usage")))
        case _:
            raise ChunkMalformed("no list of choices")


def _delta(delta: object, finish_reason: str | None, usage: Usage | None) -> Delta:
    """What a choice's delta adds: text, refusal, reasoning, tool calls."""
    match delta:
        case None:
            return Delta("", finish_reason is not None, finish_reason, usage)
        case {**fields}:
            text = _text(fields.get("content")) or _text(fields.get("refusal")) or ""
            fragments = _fragments(fields.get("tool_calls"))
            # Reasoning fields are extensions of some servers: they prove life but are no answer.
            thoughts = [fields.get(name) for name in ("reasoning_content", "reasoning")]
            begins = bool(text or fragments) or any(thoughts) or finish_reason is not None
            thought = sum(len(text) for text in thoughts if isinstance(text, str))
            return Delta(text, begins, finish_reason, usage, fragments, thought)
        case _:
            raise ChunkMalformed("delta is not an object")


def _fragments(value: object) -> tuple[Fragment, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ChunkMalformed("tool_calls is not a list")
    return tuple(_fragment(place, item) for place, item in enumerate(value))


def _fragment(place: int, item: object) -> Fragment:
    match item:
        case {**fields}:
            function = fields.get("function") or {}
            index = fields.get("index", place)
            if not isinstance(function, dict) or not isinstance(index, int):
                raise ChunkMalformed("tool call without function")
            name, arguments = _text(function.get("name")), _text(function.get("arguments"))
            return Fragment(index, _text(fields.get("id")) or "", name or "", arguments or "")
        case _:
            raise ChunkMalformed("tool call is not an object")


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ChunkMalformed("not a string")
    return value or None


def _usage(value: object) -> Usage | None:
    match value:
        case None:
            return None
        case {"prompt_tokens": int(sent), "completion_tokens": int(received), **rest} if sent >= 0 and received >= 0:
            return Usage(sent, received, _cached(rest.get("prompt_tokens_details"), sent))
        case _:
            raise ChunkMalformed("usage without token counts")


def _cached(details: object, sent: int) -> int:
    match details:
        case {"cached_tokens": int(cached)} if 0 <= cached <= sent:
            return cached
        case _:
            return 0
