"""The document that a runtime pod reads at start: the operator writes it, the runtime parses it."""

from __future__ import annotations

from pydantic import Field

from agent_api.meta import ApiModel

DOCUMENT_KEY = "document.json"
DOCUMENT_PATH = "/etc/greylag/document.json"
CREDENTIALS_DIRECTORY = "/var/run/greylag/credentials"
CREDENTIAL_FILE = "api-key"
RUNTIME_PORT = 8080


class EndpointDocument(ApiModel):
    """One model endpoint; its credential is the file <credentials directory>/<position>/api-key."""

    model: str
    base_url: str
    temperature: float | None = None
    max_output_tokens: int
    first_token_seconds: float
    idle_seconds: float
    total_seconds: float


class RetryDocument(ApiModel):
    """How a call is tried again; delays in seconds."""

    max_attempts: int
    base_delay_seconds: float
    max_delay_seconds: float


class RuntimeDocument(ApiModel):
    """Everything that makes the behaviour of one revision."""

    version: int = Field(default=1, ge=1, le=1)
    agent: str
    revision: str
    instructions: str
    max_iterations: int
    timeout_seconds: float
    endpoints: tuple[EndpointDocument, ...] = Field(min_length=1)
    retry: RetryDocument
