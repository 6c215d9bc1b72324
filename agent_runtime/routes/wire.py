"""What `POST /agent/run` takes and gives."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ANONYMOUS = "anonymous"


class RunRequest(BaseModel):
    """A question to the agent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    query: Annotated[str, Field(min_length=1, max_length=100_000)] = Field(description="What the agent is asked.")
    user_id: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        default=ANONYMOUS, description="Who asks; anonymous callers share one user."
    )
    conversation_id: str | None = Field(
        default=None,
        description="Id from an earlier answer, to continue that conversation; the header x-conversation-id wins.",
    )
    max_iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="Most model calls of the loop; the agent's own limit holds too."
    )


class RunAnswer(BaseModel):
    """What the agent answers."""

    model_config = ConfigDict(frozen=True)

    answer: str
    tool_calls: tuple[dict[str, str], ...] = Field(default=(), description="Tools that the agent called.")
    tokens_used: int | None = Field(description="Tokens in both directions; null if the model did not report them.")
    cost_usd: str | None = Field(default=None, description="Decimal dollars; null while no price is known.")
    latency_ms: int
    request_id: str
    conversation_id: str = Field(description="Send it back to continue the conversation.")
    revision: str
    model: str = Field(description="Model that answered: a fallback's name if the first failed.")
