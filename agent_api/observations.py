"""What gateways and runtimes count for the verdict, in slots of the time a request started, and serve to the operator.

The runtime marks each answer with the outcome header and counts it; the gateway counts only answers without that mark.
"""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agent_api.meta import ApiModel

SLOT_SECONDS = 5
RETAINED_SECONDS = 1800
MAX_UNITS = 64
"""Units that a slot of one revision and epoch names at most."""
SILENT_SECONDS = 60
"""After so long a run that has said nothing yet counts as one that does not answer."""
OBSERVATIONS_PATH = "/observations"

LATENCY_BOUNDS: tuple[float, ...] = tuple(0.010 * math.sqrt(1.2) ** n for n in range(134))
"""Upper bounds of the latency buckets in seconds, 10 ms to 30 min; one more bucket lies above the last."""


class Outcome(StrEnum):
    """What a run counts as."""

    OK = "ok"
    ERROR = "error"
    EXCLUDED = "excluded"


class UnitState(StrEnum):
    """What became of a unit's run."""

    OK = "ok"
    FAILED = "failed"
    UNANSWERED = "unanswered"
    """Failed, and said nothing before: its client gave up waiting, or its time was over."""
    LEFT = "left"
    """Its client left early, before the first byte: no failure, but no answer either."""
    RUNNING = "running"
    SILENT = "silent"
    """Runs for SILENT_SECONDS, and has said nothing yet."""


class UnitTurn(ApiModel):
    """The first run in a slot of what was randomised: of a conversation, or of a user with all conversations.

    Only the first run counts, so that nobody counts for more by asking more; runs that count as nothing are left out.
    """

    name: str = Field(pattern="^[0-9a-f]{12}$", description="Hash of the conversation or user.")
    by_user: bool = Field(default=False, description="Whether it is a user.")
    begins: bool = Field(default=False, description="Whether the conversation begins in this slot; unknown of a user.")
    offset_ms: int = Field(ge=0, lt=SLOT_SECONDS * 1000, description="When the run started, since the slot's begin.")
    state: UnitState = Field(description="What became of the run.")


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
    units: Annotated[tuple[UnitTurn, ...], Field(max_length=MAX_UNITS)] | None = Field(
        default=None, description="What was randomised, those of the lowest names; null from pods that know no units."
    )
    units_below: Annotated[str, Field(max_length=12)] = Field(
        default="", description="Units of this name and above were left out; empty: none was."
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


def offset_ms(moment: float, start: int) -> int:
    """Milliseconds from the begin of a slot to a Unix time, kept inside the slot."""
    return min(max(0, round((moment - start) * 1000)), SLOT_SECONDS * 1000 - 1)


def conversation_hash(conversation_id: str) -> str:
    """Short hash of a conversation id, so that pods never publish the id itself."""
    return hashlib.sha256(conversation_id.encode()).hexdigest()[:12]


def user_unit(user: str, epoch: int) -> str:
    """Name of a user as a unit of one rollout: another one in the next, and nothing that can be looked up."""
    return hashlib.sha256(f"{epoch}/{user}".encode()).hexdigest()[:12]


def latency_bucket(elapsed_seconds: float) -> int:
    """Index of the first bound that is not below the latency; len(LATENCY_BOUNDS) above the last."""
    if elapsed_seconds <= LATENCY_BOUNDS[0]:
        return 0
    index = math.ceil(math.log(elapsed_seconds / LATENCY_BOUNDS[0]) / math.log(math.sqrt(1.2)) - 1e-9)
    return min(index, len(LATENCY_BOUNDS))
