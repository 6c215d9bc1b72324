"""What providers do differently."""

from __future__ import annotations

import pytest

from agent_runtime.llm.quirks import Quirks, quirks_of

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("model", "base_url", "quirks"),
    [
        ("gpt-4o", OPENAI, Quirks()),
        ("gpt-4o", "https://proxy.example/v1", Quirks()),
        ("o3-mini", OPENAI, Quirks(output_limit="max_completion_tokens")),
        ("gpt-5.4", "https://proxy.example/v1", Quirks(output_limit="max_completion_tokens")),
        ("my-o3", OPENAI, Quirks()),
        ("llama3", "http://ollama:11434/v1", Quirks(finish_reason_required=False)),
        ("llama3", "http://ollama.models.svc.cluster.local:11434/v1", Quirks(finish_reason_required=False)),
        ("llama3", "http://LOCALHOST:11434/v1", Quirks(finish_reason_required=False)),
        ("llama3", "http://localhost:8000/v1", Quirks()),
        ("llama3", "http://my-ollama:11434/v1", Quirks()),
        ("mistral-large", "https://api.mistral.ai/v1", Quirks(stream_usage=False)),
        ("mistral-large", "https://api.mistral.ai.example/v1", Quirks()),
    ],
)
def test_endpoint_is_spoken_to_by_the_first_row_that_fits(model, base_url, quirks):
    assert quirks_of(model, base_url) == quirks


def test_strict_reading_is_the_rule():
    assert Quirks().finish_reason_required
