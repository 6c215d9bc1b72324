"""What the simulated model is asked, and what it makes of it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from demo.model_server.schemas import example_of

TOOL_USER = "tooluser"
"""Models of names that begin so ask for the first tool that they are offered, and answer with its result."""

_CALL = re.compile(r"\[\[call ([A-Za-z0-9_.-]+)(?: (\{.*?\}))?\]\]", re.DOTALL)
MUTE = "mute"
"""Models of names that begin so never answer."""
_WAIT = re.compile(r"\[\[wait ([0-9]{1,4})\]\]")
_FOR_EVER_SECONDS = 3600.0
_NEXT_STEP = "[[then]]"
_MAX_ECHO = 200


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call that the model asks for."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One chat completion: what to answer, and how it was asked for."""

    model: str
    text: str
    tool_requests: tuple[ToolRequest, ...]
    prompt_tokens: int
    cached_tokens: int
    stream: bool
    include_usage: bool
    wait_seconds: float = 0.0

    @property
    def finish_reason(self) -> str:
        """Why the answer ends."""
        return "tool_calls" if self.tool_requests else "stop"

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens, a word being one."""
        answered = len(self.text.split()) + sum(len(call.arguments.split()) + 1 for call in self.tool_requests)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": answered,
            "total_tokens": self.prompt_tokens + answered,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


def read_asked(body: dict[str, Any]) -> Asked:
    """Understand a request; raises ValueError, KeyError, TypeError or AttributeError for what is none."""
    model, messages = body["model"], body["messages"]
    if not isinstance(model, str) or not messages:
        raise ValueError
    counts = [len(_text(message).split()) for message in messages]
    requests = _tool_requests(model, messages, body.get("tools") or [])
    return Asked(
        model=model,
        text="" if requests else _answer(model, _text(messages[-1]), body.get("response_format")),
        tool_requests=requests,
        prompt_tokens=sum(counts),
        # As a provider that has seen the conversation before: all of it but what is new.
        cached_tokens=sum(counts[:-1]) if any(message["role"] == "assistant" for message in messages) else 0,
        stream=bool(body.get("stream", False)),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage", False)),
        wait_seconds=_wait_seconds(model, _text(messages[-1])),
    )


def _wait_seconds(model: str, question: str) -> float:
    """How long the model thinks without a word: as the question asks it to, for ever if it is called so."""
    if model.startswith(MUTE):
        return _FOR_EVER_SECONDS
    found = _WAIT.search(question)
    return 0.0 if found is None else float(found[1])


def _text(message: dict[str, Any]) -> str:
    content = message["content"] if "tool_calls" not in message else message.get("content") or ""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content)


def _answer(model: str, last: str, response_format: dict[str, Any] | None) -> str:
    kind = (response_format or {}).get("type")
    if response_format is not None and kind == "json_schema":
        return json.dumps(example_of(response_format["json_schema"].get("schema", {})))
    echo = f"{model} answers: {last[:_MAX_ECHO]}"
    return json.dumps({"answer": echo}) if kind == "json_object" else echo


def _tool_requests(model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> tuple[ToolRequest, ...]:
    """Calls that the last question tells (`[[call NAME {"argument": 1}]]`), or the model's name; none once they ended.

    NAME is an offered tool's name, or its end. What stands behind `[[then]]` is asked for when the calls before ended.
    """
    asked = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=None)
    if not tools or asked is None or messages[-1]["role"] not in {"user", "tool"}:
        return ()
    steps = _text(messages[asked]).split(_NEXT_STEP)
    done = sum(bool(message.get("tool_calls")) for message in messages[asked:])
    if done >= len(steps):
        return ()
    offered = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    told = [(_offered_name(name, offered), arguments) for name, arguments in _CALL.findall(steps[done])]
    if not told and not done and model.startswith(TOOL_USER):
        told = [(next(iter(offered)), "")]
    seed = hashlib.sha256(repr(messages).encode()).hexdigest()[:12]
    return tuple(
        ToolRequest(f"call_{seed}_{number}", name, arguments or json.dumps(example_of(offered.get(name, {})) or {}))
        for number, (name, arguments) in enumerate(told)
    )


def _offered_name(name: str, offered: dict[str, Any]) -> str:
    if name in offered:
        return name
    return next((candidate for candidate in offered if candidate.endswith(name)), name)
