"""Loads the document that says what the agent is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent_api.runtime_document import RuntimeDocument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent_api.runtime_document import EndpointDocument

MAX_DOCUMENT_BYTES = 1024 * 1024


class StartRefused(Exception):
    """The process cannot start; the message names the cause on one line."""


def load_document(path: Path, credentials: Iterable[int] = ()) -> RuntimeDocument:
    """Document at a path, which must have an endpoint at every position of `credentials`.

    Raises
    ------
    StartRefused
        If there is no such file, or it is not a document; the message names each wrong field and never a value.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise StartRefused(f"document {path}: {error.strerror}") from error
    if len(content) > MAX_DOCUMENT_BYTES:
        raise StartRefused(f"document {path}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = RuntimeDocument.model_validate_json(content)
    except ValidationError as error:
        raise StartRefused(f"document {path}: {describe(error)}") from None
    wrong = "; ".join([*_wrong_values(document), *_wrong_positions(document, credentials)])
    if wrong:
        raise StartRefused(f"document {path}: {wrong}")
    return document


def describe(error: ValidationError) -> str:
    """Fields that failed and why, on one line and without the values."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)
    )


def _wrong_values(document: RuntimeDocument) -> Iterator[str]:
    yield from _not_positive("timeoutSeconds", document.timeout_seconds)
    yield from _not_positive("maxIterations", document.max_iterations)
    yield from _not_positive("retry.maxAttempts", document.retry.max_attempts)
    yield from _not_positive("retry.baseDelaySeconds", document.retry.base_delay_seconds)
    yield from _not_positive("retry.maxDelaySeconds", document.retry.max_delay_seconds)
    for position, endpoint in enumerate(document.endpoints):
        yield from _wrong_endpoint(f"endpoints.{position}", endpoint)


def _wrong_endpoint(path: str, endpoint: EndpointDocument) -> Iterator[str]:
    if not endpoint.base_url.startswith(("http://", "https://")):
        yield f"{path}.baseUrl: must begin with http:// or https://"
    yield from _not_positive(f"{path}.maxOutputTokens", endpoint.max_output_tokens)
    yield from _not_positive(f"{path}.firstTokenSeconds", endpoint.first_token_seconds)
    yield from _not_positive(f"{path}.idleSeconds", endpoint.idle_seconds)
    yield from _not_positive(f"{path}.totalSeconds", endpoint.total_seconds)


def _not_positive(path: str, value: float) -> Iterator[str]:
    if not (math.isfinite(value) and value > 0):
        yield f"{path}: must be greater than 0"


def _wrong_positions(document: RuntimeDocument, credentials: Iterable[int]) -> Iterator[str]:
    for position in credentials:
        if not 0 <= position < len(document.endpoints):
            yield f"GREYLAG_CREDENTIALS names endpoint {position}, which the document does not have"
