"""What the demo's models cost. Pods reach a provider by a relay, of whose address the runtime's table knows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from agent_api.quantities import dollars
from agent_api.runtime_document import EndpointDocument
from agent_runtime.money.pricing import resolve_price
from demo.settings import Provider


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars a million tokens, as `spec.model.price` has them."""

    input_per_million: str
    output_per_million: str


def price_of(provider: Provider) -> Price | None:
    """What the table of the runtime says of a provider's first model; None if it does not know it there."""
    endpoint = EndpointDocument(
        model=provider.stable_model,
        base_url=provider.base_url,
        max_output_tokens=1,
        first_token_seconds=1,
        idle_seconds=1,
        total_seconds=1,
    )
    found = resolve_price(endpoint, datetime.now(UTC))
    return None if found is None else Price(dollars(found.input.base), dollars(found.output.base))
