"""What `POST /agent/run` takes and gives."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field

from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.errors import PROBLEM_MEDIA_TYPE, TYPE_PREFIX

MAX_QUERY_CHARACTERS = 100_000


def _can_be_passed_on(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what a model cannot be sent: numbers that are none of JSON, or too large for what it is written with."""
    try:
        same = orjson.loads(orjson.dumps(value)) == value
    except (TypeError, orjson.JSONDecodeError):
        same = False
    if not same:
        raise ValueError("numbers must be finite and integers have at most 64 bits; nesting is limited")
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_can_be_passed_on)]
"""Any JSON object that is passed on to the model."""


TEXT, LIST, OBJECT = "(text)", "(list)", "(object)"
MEMBER_TAGS: dict[type, str] = {str: TEXT, list: LIST, dict: OBJECT}
"""Tags of the members of a field that takes several types; they stand in the paths of what is wrong with it."""


def either(said: str) -> Discriminator:
    """Choice among the members of a field by the type of what was sent alone; `said` names them to the caller."""
    return Discriminator(
        lambda value: MEMBER_TAGS.get(type(value)),
        custom_error_type="field_type",
        custom_error_message=f"Input should be {said}",
    )


class RunRequest(BaseModel):
    """A question to the agent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)] = Field(
        description="What the agent is asked."
    )
    user_id: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        default=ANONYMOUS,
        description="Who asks, where access is off; else the credential says. Anonymous callers share one user.",
    )
    conversation_id: str | None = Field(
        default=None,
        description="Id from an earlier answer, to continue that conversation; the header x-conversation-id wins.",
    )
    max_iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="Most model calls of the loop; the agent's own limit holds too."
    )
    stream: bool = Field(default=False, description="Whether to answer with server-sent events.")
    response_format: JsonObject | None = Field(
        default=None,
        description="As in the OpenAI protocol: type text, json_object, or json_schema with json_schema.schema.",
    )


class ToolUseDocument(BaseModel):
    """One call of a tool."""

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: str
    milliseconds: int


class BudgetStanding(BaseModel):
    """Where the day's budgets stand after the run, in dollars."""

    model_config = ConfigDict(frozen=True)

    day: str
    spent_today_usd: str
    remaining_today_usd: str | None = Field(description="Null: no daily limit.")


class RunAnswer(BaseModel):
    """What the agent answers."""

    model_config = ConfigDict(frozen=True)

    answer: str
    finish_reason: str = Field(
        default="stop", description="stop; length or content_filter: the model's provider cut the answer short."
    )
    tool_calls: tuple[ToolUseDocument, ...] = Field(default=(), description="Tools that the agent called.")
    tokens_used: int | None = Field(description="Tokens in both directions; null if the model did not report them.")
    cost_usd: str | None = Field(default=None, description="Decimal dollars; null while no price is known.")
    latency_ms: int
    request_id: str
    conversation_id: str = Field(description="Send it back to continue the conversation.")
    revision: str
    model: str = Field(description="Model that answered: a fallback's name if the first failed.")
    cached: bool = Field(default=False, description="Whether the answer came from memory.")
    budget: BudgetStanding | None = Field(default=None, description="Null: no money is counted.")
    advice: tuple[str, ...] = Field(default=(), description="What to do as limits come near.")


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(
        description="Path of the field, such as messages.0.role, a header or a parameter; empty: the whole body."
    )
    message: str


class ProblemDocument(BaseModel):
    """Why there is no answer (RFC 9457)."""

    type: str = Field(description=f"{TYPE_PREFIX}<name>: stable, to be branched on.")
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[FieldError] = Field(default=[], description="Of a request that is not valid.")


def inlined_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of a model whose parts stand where they are used: `$defs` have no place in an OpenAPI page."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(schema, parts)
    return inlined


def _inlined(node: Any, parts: dict[str, Any]) -> Any:  # noqa: ANN401 - any part of a JSON schema
    if isinstance(node, list):
        return [_inlined(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    whole = {**parts[node["$ref"].rpartition("/")[2]], **node} if "$ref" in node else node
    return {name: _inlined(value, parts) for name, value in whole.items() if name != "$ref"}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """What the OpenAPI page says of a body that a route reads itself."""
    content = {"application/json": {"schema": inlined_schema(model)}}
    return {"requestBody": {"required": True, "content": content}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "No answer; the problem document says why.",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": inlined_schema(ProblemDocument)}},
    }
}
"""What every route may answer, for the OpenAPI page."""
