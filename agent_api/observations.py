"""What gateways and runtimes count for the verdict, in slots of the time a request started, and serve to the operator.

The runtime marks each answer with the outcome header and counts it; the gateway counts only answers without that mark.
"""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum

from pydantic import Field

from agent_api.meta import ApiModel

SLOT_SECONDS = 5
RETAINED_SECONDS = 1800
MAX_FAILED_CONVERSATIONS = 256
OBSERVATIONS_PATH = "/observations"

LATENCY_BOUNDS: tuple[float, ...] = tuple(0.010 * math.sqrt(1.2) ** n for n in range(134))
"""Upper bounds of the latency buckets in seconds, 10 ms to 30 min; one more bucket lies above the last."""


class Outcome(StrEnum):
    """What a run counts as."""

    OK = "ok"
    ERROR = "error"
    EXCLUDED = "excluded"


class Slot(ApiModel):
    """Requests of one revision and epoch that started in the same five seconds."""

    revision: str
    epoch: int = Field(ge=0, description="Epoch in which the conversation began, not that of the request.")
    start: int = Field(ge=0, description="Begin of the slot, Unix time in seconds, a multiple of SLOT_SECONDS.")
    requests: int = Field(ge=0, description="Ended requests that count (ok and error).")
    failures: int = Field(ge=0, description="Of these, errors.")
    conversations: int = Field(ge=0, description="Of these, first turns of a conversation.")
    latency: dict[int, int] = Field(default_factory=dict, description="Requests by index of LATENCY_BOUNDS.")
    cost_micro: int = Field(default=0, ge=0, description="Micro-dollars of the requests that were not cache hits.")
    tokens: int = Field(default=0, ge=0, description="Tokens of the requests that were not cache hits.")
    cache_hits: int = Field(default=0, ge=0, description="Requests answered from memory.")
    tool_calls: int = Field(default=0, ge=0, description="Calls of tools that ended.")
    tool_failures: int = Field(default=0, ge=0, description="Of these, failures.")
    fallbacks: int = Field(default=0, ge=0, description="Requests that a fallback model answered.")
    guard_blocks: int = Field(default=0, ge=0, description="Requests that a guard blocked.")
    failed_conversations: tuple[str, ...] = Field(
        default=(), description="Conversation hashes, one per failure, at most MAX_FAILED_CONVERSATIONS."
    )


class Observations(ApiModel):
    """What one pod has counted."""

    instance: str = Field(description="Name of the pod; a restart of the process begins a new count at `since`.")
    since: int = Field(ge=0, description="Unix time in seconds: nothing is known of requests before it.")
    settled_until: int = Field(
        ge=0,
        description="Unix time in seconds: all requests that started before it have ended or were booked as errors.",
    )
    in_flight: int = Field(ge=0, description="Requests running now, all revisions and epochs.")
    slots: tuple[Slot, ...] = Field(default=(), description="Slots of the last RETAINED_SECONDS.")


def slot_start(moment: float) -> int:
    """Begin of the slot that a Unix time falls in."""
    return int(moment // SLOT_SECONDS) * SLOT_SECONDS


def conversation_hash(conversation_id: str) -> str:
    """Short hash of a conversation id, so that pods never publish the id itself."""
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:12]


def latency_bucket(elapsed_seconds: float) -> int:
    """Index of the first bound that is not below the latency; len(LATENCY_BOUNDS) above the last."""
    if elapsed_seconds <= LATENCY_BOUNDS[0]:
        return 0
    index = math.ceil(math.log(elapsed_seconds / LATENCY_BOUNDS[0]) / math.log(math.sqrt(1.2)) - 1e-9)
    return min(index, len(LATENCY_BOUNDS))
