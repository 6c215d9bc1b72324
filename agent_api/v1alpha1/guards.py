"""What may go in and come out, and what is answered from memory."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agent_api.meta import ApiModel
from agent_api.quantities import Duration, positive_durations

Pattern = Annotated[str, Field(min_length=1, max_length=512)]
Patterns = Annotated[list[Pattern], Field(max_length=64)]


class Redaction(StrEnum):
    """What is blotted out of answers."""

    API_KEYS = "apiKeys"
    PASSWORDS = "passwords"
    TOKENS = "tokens"
    CREDIT_CARDS = "creditCards"
    IBANS = "ibans"
    EMAILS = "emails"


DEFAULT_REDACTIONS = [
    Redaction.API_KEYS,
    Redaction.PASSWORDS,
    Redaction.TOKENS,
    Redaction.CREDIT_CARDS,
    Redaction.IBANS,
]


class InputGuard(ApiModel):
    """What a question must not be."""

    max_length: int = Field(
        default=10_000, ge=1, le=100_000, description="Most characters of one message. Default 10000."
    )
    blocked_patterns: Patterns = Field(
        default=[], description="RE2 expressions; a question in which one is found is refused."
    )


class OutputGuard(ApiModel):
    """What an answer must not hold."""

    redact: Annotated[list[Redaction], Field(max_length=6, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(
            default=DEFAULT_REDACTIONS,
            description="What is replaced in answers and in arguments of tools."
            " Default: apiKeys, passwords, tokens, creditCards, ibans; emails by choice.",
        )
    )
    blocked_patterns: Patterns = Field(
        default=[], description="RE2 expressions; an answer in which one is found is withheld."
    )


class Guards(ApiModel):
    """Guards of questions and answers. One that fails refuses."""

    input: InputGuard = Field(default=InputGuard(), description="Guard of questions.")
    output: OutputGuard = Field(default=OutputGuard(), description="Guard of answers.")


class CacheScope(StrEnum):
    """Who may be given an answer from memory."""

    USER = "User"
    AGENT = "Agent"


class Cache(ApiModel):
    """Answers to the same question in the same conversation are given again without asking a model."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": positive_durations("ttl", longest="720h")}}

    ttl: Duration = Field(description="How long an answer is kept, such as 1h.")
    scope: CacheScope = Field(
        default=CacheScope.USER, description="User (default): only to the user who asked; Agent: to every user."
    )
