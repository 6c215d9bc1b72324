"""JSON lines on standard output, with API keys blotted out whatever put them there."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, Processor, WrappedLogger

BLOT = "***"
_QUIET_LOGGERS = ("openai", "httpx2", "httpcore2", "aiohttp", "asyncio", "uvicorn")


def configure_logging(secrets: Callable[[], tuple[str, ...]]) -> None:
    """Send our own lines and those of the libraries to standard output; `secrets` lists what must not be in them."""
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    final: list[Processor] = [structlog.processors.JSONRenderer(serializer=json.dumps), _Blotter(secrets)]
    structlog.configure(
        processors=[*shared, *final],
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
