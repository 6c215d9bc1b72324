"""Reads the chunks of a streamed answer, which the OpenAI client does not validate, and puts the answer together."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_runtime.llm.client import Usage

MAX_ANSWER_CHARACTERS = 4 * 1024 * 1024


class ChunkMalformed(Exception):
    """A chunk is not what the protocol says."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one chunk adds; `begins` tells that the model has produced something, visible or not."""

    text: str = ""
    begins: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class AnswerParts:
    """The answer as far as it has arrived."""

    begun: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    _texts: list[str] = field(default_factory=list)
    _length: int = 0

    def add(self, delta: Delta) -> None:
        """Append a delta; raises ChunkMalformed if the answer grows beyond any bound."""
        self.begun = self.begun or delta.begins
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage
        if delta.text:
            self._length += len(delta.text)
            if self._length > MAX_ANSWER_CHARACTERS:
                raise ChunkMalformed("answer too long")
            self._texts.append(delta.text)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)


def read_chunk(chunk: object) -> Delta:
    """Delta that a chunk carries; raises ChunkMalformed."""
    match chunk:
        case {"choices": [{**choice}, *_], **rest}:
            text, begins = _content(choice.get("delta"))
            finish_reason = _text(choice.get("finish_reason"))
            return Delta(text, begins or finish_reason is not None, finish_reason, _usage(rest.get("usage")))
        case {"choices": [], **rest}:
            return Delta(usage=_usage(rest.get("usage")))
        case _:
            raise ChunkMalformed("no list of choices")


def _content(delta: object) -> tuple[str, bool]:
    """Text of a delta, and whether it holds any product of the model (text, refusal, reasoning, tool call)."""
    match delta:
        case None:
            return "", False
        case {**fields}:
            text = _text(fields.get("content")) or _text(fields.get("refusal")) or ""
            # Reasoning fields are extensions of some servers: they prove life but are no answer.
            produced = ("reasoning_content", "reasoning", "tool_calls")
            return text, bool(text) or any(fields.get(name) for name in produced)
        case _:
            raise ChunkMalformed("delta is not an object")


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ChunkMalformed("not a string")
    return value or None


def _usage(value: object) -> Usage | None:
    match value:
        case None:
            return None
        case {"prompt_tokens": int(sent), "completion_tokens": int(received)} if sent >= 0 and received >= 0:
            return Usage(sent, received)
        case _:
            raise ChunkMalformed("usage without token counts")
