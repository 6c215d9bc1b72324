"""Settings of the process, from environment variables."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent_api.live_document import LIVE_PATH
from agent_api.runtime_document import CREDENTIALS_DIRECTORY, DOCUMENT_PATH, HEADERS_DIRECTORY, RUNTIME_PORT


class Settings(BaseSettings):
    """What the pod's template says; everything that makes the agent's behaviour is in the document instead."""

    model_config = SettingsConfigDict(env_prefix="GREYLAG_", frozen=True)

    host: str = "0.0.0.0"  # noqa: S104 - a pod serves its network
    port: int = Field(default=RUNTIME_PORT, ge=1, le=65535)
    document: Path = Path(DOCUMENT_PATH)
    credentials_directory: Path = Path(CREDENTIALS_DIRECTORY)
    credentials: Annotated[tuple[int, ...], NoDecode] = ()
    """Positions of the endpoints that have an API key, such as 0,2."""

    live: Path = Path(LIVE_PATH)
    store_directory: Path | None = None
    """Folder of the store's URL; None: revisions older than the store have none."""

    headers_directory: Path = Path(HEADERS_DIRECTORY)
    api_keys_directory: Path | None = None
    capture_content: bool = False
    """Whether traces hold questions and answers, redacted."""

    task_concurrency: int = Field(default=8, ge=1, le=256)
    """Tasks that one pod works on at the same time."""

    pod_name: str = Field(default_factory=socket.gethostname)
    lame_duck_seconds: float = Field(default=6.0, ge=0, le=60)
    """How long a terminating process still accepts requests, so that every gateway has noticed."""

    @field_validator("credentials", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (part.strip() for part in value.split(",")) if part)
        return value
