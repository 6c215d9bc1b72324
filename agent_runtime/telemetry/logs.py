"""JSON lines on standard output, tied to their run, with secrets blotted out whatever put them there.

What people and models write is never logged; what libraries log about it is muted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, merge_contextvars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger

BLOT = "***"
_QUIET_LOGGERS = ("openai", "httpx2", "httpcore2", "aiohttp", "asyncio", "uvicorn", "redis", "urllib3", "sse_starlette")
_MUTED_LOGGERS = ("opentelemetry", "mcp")
"""These repeat themselves while a peer is down, or quote what tools say; our own lines tell what matters."""

_IDENTIFIERS = frozenset({"time", "level", "request_id", "conversation", "user", "revision", "trace_id"})
"""Fields that tie lines together: no redaction may tear them apart."""

_MAX_DEPTH = 4
_USER_HASH_DIGITS = 12
_chain: list[Processor] = []
"""One list for ever: a logger that was used before the secrets were known has kept it."""


def configure_logging(secrets: Callable[[], tuple[str, ...]], redact: Callable[[str], str] | None = None) -> None:
    """Send our own lines and those of the libraries to standard output.

    `secrets` lists what must not be in them; `redact` takes out what merely looks like a secret.
    """
    shared: list[Processor] = [
        merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    final: list[Processor] = [] if redact is None else [_Redactor(redact)]
    final += [structlog.processors.JSONRenderer(serializer=json.dumps), _Blotter(secrets)]
    _chain[:] = [*shared, *final]
    structlog.configure(
        processors=_chain,
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *final])
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _MUTED_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def run_context(
    *, request_id: str, revision: str, conversation: str = "", user: str = "", trace_id: str = ""
) -> Iterator[None]:
    """Put these fields on every line of this task and of those it starts; conversation and user come hashed."""
    fields = {
        "request_id": request_id,
        "revision": revision,
        "conversation": conversation,
        "user": user,
        "trace_id": trace_id,
    }
    before = get_contextvars()
    bind_contextvars(**{name: value for name, value in fields.items() if value})
    try:
        yield
    finally:
        # Not by tokens: a stream may be closed by another task than the one that opened it.
        clear_contextvars()
        bind_contextvars(**before)


def bind_to_run(**fields: str) -> None:
    """Add fields to the lines of the run that this task is in, once they are known."""
    bind_contextvars(**fields)


def user_hash(namespace: str, user: str) -> str:
    """Short hash of who asks, apart for each namespace, so that lines can be told apart without naming people."""
    return hashlib.sha256(f"{namespace}\n{user}".encode()).hexdigest()[:_USER_HASH_DIGITS]


class _Redactor:
    """Takes out of every value what looks like a secret; a redaction that fails takes out the value."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        return {name: value if name in _IDENTIFIERS else self._clean(value, _MAX_DEPTH) for name, value in line.items()}

    def _clean(self, value: object, depth: int) -> object:
        match value:
            case str():
                return self._clean_text(str(value))
            case bool() | int() | float() | None:
                return value
            case dict() if depth:
                return {str(key): self._clean(item, depth - 1) for key, item in value.items()}
            case list() | tuple() if depth:
                return [self._clean(item, depth - 1) for item in value]
            case _:
                return self._clean_text(str(value))

    def _clean_text(self, text: str) -> str:
        try:
            return self._redact(text)
        except Exception:  # noqa: BLE001 - a guard that fails closes
            return BLOT


class _Blotter:
    """Last processor: replaces every known secret in the finished line."""

    def __init__(self, secrets: Callable[[], tuple[str, ...]]) -> None:
        self._secrets = secrets

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
        text = str(line)
        for secret in self._secrets():
            for form in _written_forms(secret):
                text = text.replace(form, BLOT)
        return text


def _written_forms(secret: str) -> tuple[str, str]:
    """The secret as JSON writes it, as it is and as an exception quotes it."""
    return json.dumps(repr(secret)[1:-1])[1:-1], json.dumps(secret)[1:-1]
