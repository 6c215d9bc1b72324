"""What a model call costs, and can cost at most. All sums are integer micro-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from agent_api.runtime_document import EndpointDocument
from agent_runtime.llm.client import ModelRequest, Usage

PER_MILLION = 1_000_000
REQUEST_OVERHEAD_TOKENS = 64
"""What a provider puts around a request: the beginning of the answer, notes on tools and formats."""

MESSAGE_OVERHEAD_TOKENS = 16
"""What a provider puts around each message, tool call or tool: roles, separators, ids."""

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_CHOICES = ("n", "best_of")


@dataclass(frozen=True, slots=True)
class Rate:
    """Micro-dollars a million tokens; from `tiers` (start, rate) on, in tokens of the input, another rate holds."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        """Rate of a call with so much input."""
        reached = [rate for start, rate in self.tiers if input_tokens > start]
        return reached[-1] if reached else self.base

    def dearest(self, input_tokens: int) -> int:
        """Highest rate of a call with at most so much input."""
        return max([self.base, *(rate for start, rate in self.tiers if input_tokens > start)])


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Prices of one model at one endpoint; without `cached` or `written`, such tokens cost what others do."""

    input: Rate
    output: Rate
    cached: Rate | None = None
    written: Rate | None = None
    request_micro: int = 0

    def cost(self, usage: Usage) -> int:
        """What a call cost, rounded up; cached tokens are a part of the input and paid once."""
        cached = min(max(usage.cached_tokens, 0), usage.input_tokens)
        fresh = usage.input_tokens - cached
        size = usage.input_tokens
        parts = (
            fresh * self.input.at(size)
            + cached * (self.cached or self.input).at(size)
            + usage.output_tokens * self.output.at(size)
        )
        return self.request_micro + _rounded_up(parts)

    def worst_case(self, input_tokens: int, output_tokens: int) -> int:
        """Most that a call can cost which sends and gets at most so many tokens."""
        dearest_input = max(
            rate.dearest(input_tokens) for rate in (self.input, self.cached, self.written) if rate is not None
        )
        parts = input_tokens * dearest_input + output_tokens * self.output.dearest(input_tokens)
        return self.request_micro + _rounded_up(parts)


@dataclass(frozen=True, slots=True)
class WorstCase:
    """Most tokens that a call can take."""

    input_tokens: int
    output_tokens: int

    @property
    def total(self) -> int:
        """Tokens in both directions."""
        return self.input_tokens + self.output_tokens


def worst_case_of(request: ModelRequest, endpoint: EndpointDocument) -> WorstCase:
    """Bound the tokens of a request: no tokeniser makes more tokens of a text than it has bytes in UTF-8."""
    messages = sum(
        len(message.content.encode())
        + MESSAGE_OVERHEAD_TOKENS
        + sum(
            len(call.name.encode()) + len(call.arguments.encode()) + len(call.id.encode()) + MESSAGE_OVERHEAD_TOKENS
            for call in message.tool_calls
        )
        + len((message.tool_call_id or "").encode())
        for message in request.messages
    )
    tools = sum(
        len(tool.wire_name.encode())
        + len(tool.description.encode())
        + len(orjson.dumps(tool.parameters))
        + MESSAGE_OVERHEAD_TOKENS
        for tool in request.tools
    )
    extra = len(orjson.dumps([request.response_format, endpoint.extra]))
    return WorstCase(REQUEST_OVERHEAD_TOKENS + messages + tools + extra, _most_output(endpoint))


def _most_output(endpoint: EndpointDocument) -> int:
    """Tokens of the longest answer; parameters that are passed through may ask for more answers, or longer ones."""
    longest = max([endpoint.max_output_tokens, *(_count(endpoint.extra, name) for name in _OUTPUT_LIMITS)])
    return longest * max([1, *(_count(endpoint.extra, name) for name in _CHOICES)])


def _count(extra: Mapping[str, Any], name: str) -> int:
    value = extra.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _rounded_up(parts: int) -> int:
    return -(-parts // PER_MILLION)
