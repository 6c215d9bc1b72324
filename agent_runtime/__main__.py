"""Entry point: `python -m agent_runtime`."""

from __future__ import annotations

import sys

import structlog
from pydantic import ValidationError

from agent_runtime.document import StartRefused, describe, load_document
from agent_runtime.process import build_process
from agent_runtime.server import serve
from agent_runtime.settings import Settings
from agent_runtime.telemetry.logs import configure_logging


def main() -> int:
    """Run the agent; returns the exit code."""
    configure_logging(tuple)
    try:
        settings = _settings()
        context = build_process(settings, load_document(settings.document, settings.credentials))
    except StartRefused as error:
        structlog.get_logger("agent_runtime").error("cannot start", cause=str(error))
        return 1
    configure_logging(context.secrets, context.redact)
    serve(settings, context)
    return 0


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise StartRefused(f"environment GREYLAG_*: {describe(error)}") from None


if __name__ == "__main__":
    sys.exit(main())
