"""Settings of the process, from environment variables."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent_api.runtime_document import CREDENTIALS_DIRECTORY, DOCUMENT_PATH, RUNTIME_PORT


class Settings(BaseSettings):
    """What the pod's template says; everything that makes the agent's behaviour is in the document instead."""

    model_config = SettingsConfigDict(env_prefix="GREYLAG_", frozen=True)

    host: str = "0.0.0.0"  # noqa: S104 - a pod serves its network
    port: int = Field(default=RUNTIME_PORT, ge=1, le=65535)
    document: Path = Path(DOCUMENT_PATH)
    credentials_directory: Path = Path(CREDENTIALS_DIRECTORY)
    credentials: Annotated[tuple[int, ...], NoDecode] = ()
    """Positions of the endpoints that have an API key, such as 0,2."""

    pod_name: str = Field(default_factory=socket.gethostname)
    lame_duck_seconds: float = Field(default=6.0, ge=0, le=60)
    """How long a terminating process still accepts requests, so that every gateway has noticed."""

    @field_validator("credentials", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (part.strip() for part in value.split(",")) if part)
        return value
