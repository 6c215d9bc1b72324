"""Who may ask the agent, and where its state is kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent_api.meta import ApiModel, KeyReference, ObjectName

Audience = Annotated[str, Field(min_length=1, max_length=256)]


class SecretReference(ApiModel):
    """A whole Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Jwt(ApiModel):
    """Tokens of one issuer."""

    issuer: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Claim `iss` of its tokens.")
    audiences: Annotated[
        list[Audience], Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(description="A token must name one of them in claim `aud`.")
    jwks: Annotated[str, Field(min_length=2, max_length=32_768)] = Field(
        description="Its public keys, a JSON Web Key Set. Put old and new keys in it while keys are rotated."
    )


class Access(ApiModel):
    """Who may ask the agent. Nothing set: everybody who reaches it."""

    api_keys_secret_ref: SecretReference | None = Field(
        default=None, description="Secret with one entry a user: its key names the user, its value is the API key."
    )
    jwt: Jwt | None = Field(default=None, description="Bearer tokens; claim `sub` names the user.")


class Store(ApiModel):
    """Redis that keeps budgets, limits, cache, tasks and conversations."""

    url_secret_ref: KeyReference = Field(
        description="Secret key that holds its URL, such as rediss://:password@redis.team-a:6379/0."
    )
    ca_secret_ref: KeyReference | None = Field(
        default=None, description="Secret key that holds the CA bundle (PEM) by which its certificate is checked."
    )
