"""The model part of an agent: endpoint, fallbacks, retry."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue, WithJsonSchema

from agent_api.meta import ApiModel, KeyReference
from agent_api.quantities import Duration, Money, positive_durations

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
BaseUrl = Annotated[
    str,
    Field(
        max_length=2048,
        pattern=r"^https?://([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-\"$-~]*)?$",
    ),
]
"""An absolute URL without user, password or fragment: credentials come from a Secret."""


def absolute_urls(*names: str) -> list[JsonValue]:
    """Rules by which the API server refuses what its own parser of URLs does not read; names are those of the wire."""
    return [
        {
            "rule": f"!has(self.{name}) || isURL(self.{name})",
            "message": f"{name} must be an absolute URL such as https://api.openai.com/v1",
            "fieldPath": f".{name}",
        }
        for name in names
    ]


class ModelParameters(ApiModel):
    """Parameters sent with every call to the model."""

    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature, 0 to 2. Unset: the provider's default."
    )
    top_p: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the likeliest tokens that is sampled from. Unset: the provider's.",
    )
    max_output_tokens: int = Field(
        default=4096, ge=1, le=1_000_000, description="Most tokens the model may answer with. Default 4096."
    )
    extra: Annotated[
        dict[str, Any],
        WithJsonSchema({"type": "object", "maxProperties": 32, "x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(default={}, description="Further parameters by the provider's names, passed on as they are.")


class Price(ApiModel):
    """What the model costs."""

    input_per_million: Money = Field(description='Dollars a million tokens sent, such as "2.50".')
    output_per_million: Money = Field(description='Dollars a million tokens answered, such as "10.00".')


class ModelTimeouts(ApiModel):
    """Limits in time of one call to the model."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": positive_durations("firstToken", "idle", "total", longest="1h")
        }
    }

    first_token: Duration = Field(default="20s", description="Longest wait for the first token. Default 20s.")
    idle: Duration = Field(default="15s", description="Longest silence between two tokens. Default 15s.")
    total: Duration = Field(default="60s", description="Longest whole call, at most 1h. Default 60s.")


class ModelEndpoint(ApiModel):
    """One model behind an OpenAI-compatible endpoint."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": absolute_urls("baseURL")}}

    name: ModelName = Field(description="Name of the model, as the endpoint knows it.")
    base_url: BaseUrl = Field(
        alias="baseURL", description="Base URL of the OpenAI-compatible endpoint, such as https://api.openai.com/v1."
    )
    api_key_secret_ref: KeyReference | None = Field(
        default=None, description="Secret key that holds the API key. Unset: the endpoint is called without one."
    )
    parameters: ModelParameters = Field(default=ModelParameters(), description="Parameters of every call.")
    timeouts: ModelTimeouts = Field(default=ModelTimeouts(), description="Limits in time of one call.")
    price: Price | None = Field(
        default=None, description="Price of the model. Unset: that of the runtime's price table, if it knows the model."
    )


class CircuitBreaker(ApiModel):
    """When an endpoint that fails is left alone for a while; shared by all pods of a revision."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": positive_durations("window", "recoveryTimeout", longest="1h"),
        }
    }

    failure_threshold: int = Field(
        default=5, ge=1, le=10_000, description="Fewest failures within the window that open it. Default 5."
    )
    failure_percent: int = Field(
        default=50,
        ge=1,
        le=100,
        description="Smallest share of failed calls within the window that opens it. Default 50.",
    )
    window: Duration = Field(default="60s", description="How far back calls are counted. Default 60s.")
    recovery_timeout: Duration = Field(
        default="60s", description="How long it stays open before one call tries the endpoint again. Default 60s."
    )


class Resilience(ApiModel):
    """How a call to a model is tried again, and when an endpoint is left alone."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.baseDelay) || !has(self.maxDelay)"
                    " || duration(self.baseDelay) <= duration(self.maxDelay)",
                    "message": "baseDelay must not be longer than maxDelay",
                    "fieldPath": ".baseDelay",
                }
            ]
        }
    }

    max_attempts: int = Field(
        default=3, ge=1, le=10, description="Most attempts at one endpoint before the next fallback. Default 3."
    )
    base_delay: Duration = Field(
        default="1s", description="First delay; doubles each time, with full jitter. Default 1s."
    )
    max_delay: Duration = Field(default="30s", description="Longest delay between two attempts. Default 30s.")
    max_attempts_per_run: int = Field(
        default=50, ge=1, le=1000, description="Most attempts at all endpoints in one run. Default 50."
    )
    circuit_breaker: CircuitBreaker = Field(
        default=CircuitBreaker(), description="When an endpoint is left alone for a while."
    )
