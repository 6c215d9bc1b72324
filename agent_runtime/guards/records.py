"""Secrets are kept out of log lines and spans by the same rules as out of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

    from agent_runtime.core.redaction import Redactor

WITHHELD = "[redacted:failed]"
"""Stands for a record whose redaction failed."""


def redacting_processor(redactor: Redactor) -> Processor:
    """Processor of structlog that blots secrets out of every field; it stands before the renderer."""

    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        try:
            redacted: EventDict = redactor.redact_json(dict(event))
        except Exception as error:  # noqa: BLE001 - a line less is better than a secret in it, and better than no run
            return {"event": WITHHELD, "cause": type(error).__name__}
        return redacted

    return redact


def redacted_attributes(redactor: Redactor, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a span without secrets."""
    try:
        redacted: dict[str, Any] = redactor.redact_json(dict(attributes))
    except Exception:  # noqa: BLE001 - as above
        return dict.fromkeys(attributes, WITHHELD)
    return redacted
