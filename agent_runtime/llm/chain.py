"""Puts the layers of a model call together: fallback over retry over endpoint."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from openai import DefaultAioHttpClient

from agent_runtime.llm.fallback import FallbackClient
from agent_runtime.llm.openai_client import OpenAIClient
from agent_runtime.llm.retry import RetryingClient

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from agent_api.runtime_document import RuntimeDocument
    from agent_runtime.llm.client import ModelClient
    from agent_runtime.llm.credentials import Credentials
    from agent_runtime.llm.retry import AttemptHook


def open_http_client() -> httpx2.AsyncClient:
    """Connections to all endpoints; timeouts are ours, and a redirect is an error: it would turn a POST into a GET."""
    return DefaultAioHttpClient(timeout=None, follow_redirects=False)


def build_chain(
    document: RuntimeDocument,
    credentials: Credentials,
    http: httpx2.AsyncClient,
    attempt_hook: AttemptHook,
    fallback_hook: Callable[[str], None],
) -> ModelClient:
    """Model client of a whole agent."""
    clients = [
        RetryingClient(
            endpoint.model,
            OpenAIClient(endpoint, position, credentials, http),
            document.retry,
            attempt_hook,
            random.random,
        )
        for position, endpoint in enumerate(document.endpoints)
    ]
    return FallbackClient(clients, fallback_hook)
