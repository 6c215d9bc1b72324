"""The document that a runtime pod reads at start: the operator writes it, the runtime parses it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agent_api.meta import ApiModel
from agent_api.v1alpha1.guards import DEFAULT_REDACTIONS, CacheScope, Redaction
from agent_api.v1alpha1.tools import ToolAction, ToolRule

DOCUMENT_KEY = "document.json"
DOCUMENT_PATH = "/etc/greylag/document.json"
CREDENTIALS_DIRECTORY = "/var/run/greylag/credentials"
CREDENTIAL_FILE = "api-key"
RUNTIME_PORT = 8080

STORE_DIRECTORY = "/var/run/greylag/store"
STORE_URL_FILE = "url"
STORE_CA_FILE = "ca.pem"
API_KEYS_DIRECTORY = "/var/run/greylag/api-keys"
HEADERS_DIRECTORY = "/var/run/greylag/headers"
"""Secret headers of tools are the files <directory>/<position of the source>-<position of the header>/value."""
HEADER_FILE = "value"


class PriceDocument(ApiModel):
    """Price of a model in micro-dollars a million tokens."""

    input_micro: int
    output_micro: int


class EndpointDocument(ApiModel):
    """One model endpoint; its credential is the file <credentials directory>/<position>/api-key."""

    model: str
    base_url: str
    temperature: float | None = None
    top_p: float | None = None
    extra: dict[str, Any] = Field(default={})
    max_output_tokens: int
    first_token_seconds: float
    idle_seconds: float
    total_seconds: float
    price: PriceDocument | None = None


class RetryDocument(ApiModel):
    """How a call is tried again; delays in seconds."""

    max_attempts: int
    base_delay_seconds: float
    max_delay_seconds: float
    max_attempts_per_run: int = 50


class BreakerDocument(ApiModel):
    """When an endpoint is left alone."""

    failure_threshold: int = 5
    failure_percent: int = 50
    window_seconds: float = 60
    recovery_seconds: float = 60


class HeaderDocument(ApiModel):
    """Name of a header whose value is a mounted secret."""

    name: str


class ToolSourceDocument(ApiModel):
    """One source of tools: an MCP server if `mcp_url` is set, else an HTTP API."""

    name: str
    mcp_url: str | None = None
    open_api_url: str | None = None
    open_api: str | None = Field(default=None, description="The description itself, if it came from a ConfigMap.")
    base_url: str | None = None
    headers: tuple[HeaderDocument, ...] = ()
    idempotent: tuple[str, ...] = ()


class ToolPolicyDocument(ApiModel):
    """Which calls of tools are allowed, and how long and how large they may be."""

    default: ToolAction = ToolAction.DENY
    rules: tuple[ToolRule, ...] = ()
    timeout_seconds: float = 30
    max_output_bytes: int = 10_000
    max_calls_per_run: int = 50
    max_concurrent: int = 8


class GuardsDocument(ApiModel):
    """Guards of questions and answers."""

    max_length: int = 10_000
    blocked_input: tuple[str, ...] = ()
    redact: tuple[Redaction, ...] = tuple(DEFAULT_REDACTIONS)
    blocked_output: tuple[str, ...] = ()


class CacheDocument(ApiModel):
    """Answers from memory."""

    ttl_seconds: float
    scope: CacheScope


class ConversationsDocument(ApiModel):
    """What is remembered of a conversation."""

    ttl_seconds: float = 86_400
    max_tokens: int = 16_000
    summarise: bool = False


class RuntimeDocument(ApiModel):
    """Everything that makes the behaviour of one revision."""

    version: int = Field(default=1, ge=1, le=1)
    agent: str
    namespace: str = Field(default="default", description="Prefix of everything that the store keeps.")
    revision: str
    instructions: str
    max_iterations: int
    timeout_seconds: float
    endpoints: tuple[EndpointDocument, ...] = Field(min_length=1)
    retry: RetryDocument
    breaker: BreakerDocument = BreakerDocument()
    conversations: ConversationsDocument = ConversationsDocument()
    tools: tuple[ToolSourceDocument, ...] = ()
    tool_policy: ToolPolicyDocument = ToolPolicyDocument()
    guards: GuardsDocument = GuardsDocument()
    cache: CacheDocument | None = None
