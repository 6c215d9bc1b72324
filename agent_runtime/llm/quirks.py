"""What providers do differently, as data: a new provider is a new row."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one endpoint is spoken to."""

    output_limit: str = "max_tokens"
    finish_reason_required: bool = True
    stream_usage: bool = True


@dataclass(frozen=True, slots=True)
class _Row:
    host: str
    model: str
    quirks: Quirks


_NEWER = Quirks(output_limit="max_completion_tokens")
_TABLE = (
    # Models that refuse `max_tokens`; servers that are not known get the field that every server knows.
    *(_Row("*", f"{family}*", _NEWER) for family in ("o1", "o3", "o4", "gpt-5")),
    # Ollama sends finish_reason null on complete answers.
    _Row("ollama*", "*", Quirks(finish_reason_required=False)),
    _Row("localhost:11434", "*", Quirks(finish_reason_required=False)),
    # Mistral refuses `stream_options`; it reports usage in the last chunk by itself.
    _Row("api.mistral.ai", "*", Quirks(stream_usage=False)),
)


def quirks_of(model: str, base_url: str) -> Quirks:
    """Quirks of the first row that fits host and model; those of the protocol's own words if none does."""
    host = urlsplit(base_url).netloc.lower()
    rows = (row.quirks for row in _TABLE if fnmatchcase(host, row.host) and fnmatchcase(model, row.model))
    return next(rows, Quirks())
