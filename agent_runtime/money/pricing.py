"""Finds what a model costs: the document says so, or the price table knows exactly this model at this provider."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from genai_prices import data_snapshot, types

from agent_api.runtime_document import EndpointDocument, PriceDocument
from agent_runtime.core.money import ModelPrice, Rate

__all__ = ["ModelPrice", "price_of", "resolve_price"]

MICRO = 1_000_000
_SNAPSHOT_OF_A_MODEL = re.compile(r"[-@:](\d{8}|\d{4}-\d{2}-\d{2}|latest)")
"""What may follow the name of a model of which it is a dated snapshot."""

_Price = Decimal | types.TieredPrices | None


def resolve_price(endpoint: EndpointDocument, now: datetime) -> ModelPrice | None:
    """Price of a model at an endpoint, to be kept; None if it is not known. `now` decides between old and new prices.

    The table's own matching takes the price of a model whose name begins alike, which may be a cheaper one: only names
    that mean exactly this model are taken here. A host that is no provider of the table has no price, whatever it calls
    its models.
    """
    if endpoint.price is not None:
        return price_of(endpoint.price)
    model = _find(endpoint.model.lower(), endpoint.base_url)
    return None if model is None else _price_at(model, now, _context(endpoint))


def price_of(document: PriceDocument) -> ModelPrice:
    """Price that the document states."""
    return ModelPrice(Rate(document.input_micro), Rate(document.output_micro))


def _find(name: str, base_url: str) -> types.ModelInfo | None:
    providers = data_snapshot.get_snapshot().providers
    by_id = {provider.id: provider for provider in providers}
    for provider in providers:
        if _serves(provider, base_url):
            sellers = [provider, *(by_id[other] for other in provider.fallback_model_providers or () if other in by_id)]
            for model in _models(sellers):
                if _means(model.match, name):
                    return model
    return None


def _models(providers: list[types.Provider]) -> Iterator[types.ModelInfo]:
    for provider in providers:
        yield from provider.models


def _serves(provider: types.Provider, base_url: str) -> bool:
    found = re.match(provider.api_pattern, base_url)
    if found is None:
        return False
    # `https://api\.openai\.com` also matches the beginning of another host's name.
    ends_open = provider.api_pattern.endswith((r"\.", "/", "$)", "|$)"))
    rest = base_url[found.end() :]
    return ends_open or not rest or rest[0] in ":/"


def _means(clause: types.MatchLogic, name: str) -> bool:
    """Whether a clause matches the name because it is the model's, not because it begins like it."""
    match clause:
        case types.ClauseEquals():
            return clause.is_match(name)
        case types.ClauseRegex():
            return re.fullmatch(clause.regex, name) is not None
        case types.ClauseStartsWith():
            rest = name.removeprefix(clause.starts_with)
            return name.startswith(clause.starts_with) and (
                not rest or _SNAPSHOT_OF_A_MODEL.fullmatch(rest) is not None
            )
        case types.ClauseContains():
            return clause.contains == name
        case types.ClauseEndsWith():
            return clause.ends_with == name
        case types.ClauseOr():
            return any(_means(inner, name) for inner in clause.or_)
        case types.ClauseAnd():
            return clause.is_match(name) and any(_means(inner, name) for inner in clause.and_)


def _context(endpoint: EndpointDocument) -> Mapping[str, str]:
    """Parameters by which prices may differ, such as service_tier."""
    return {name: value for name, value in endpoint.extra.items() if isinstance(value, str)}


def _price_at(model: types.ModelInfo, now: datetime, context: Mapping[str, str]) -> ModelPrice | None:
    # Some prices change with the hour; whoever wants the dearest of the day looks at each.
    hours = [model.get_prices(now.replace(hour=hour), context) for hour in range(24)]
    rates = {
        name: _dearest([_rate(getattr(price, unit)) for price in hours])
        for name, unit in (
            ("input", "input_mtok"),
            ("output", "output_mtok"),
            ("cached", "cache_read_mtok"),
            ("written", "cache_write_mtok"),
            ("request", "requests_kcount"),
        )
    }
    sent, received, request = rates["input"], rates["output"], rates["request"]
    if sent is None or received is None:
        return None
    # Requests are priced a thousand, tokens a million.
    each = 0 if request is None else -(-max(request.base, *(rate for _, rate in request.tiers), 0) // 1000)
    return ModelPrice(sent, received, rates["cached"], rates["written"], each)


def _dearest(rates: list[Rate | None]) -> Rate | None:
    known = [rate for rate in rates if rate is not None]
    return max(known, key=lambda rate: (rate.base, rate.tiers)) if known else None


def _rate(price: _Price) -> Rate | None:
    match price:
        case None:
            return None
        case types.TieredPrices():
            return Rate(_micro(price.base), tuple((tier.start, _micro(tier.price)) for tier in price.tiers))
        case _:
            return Rate(_micro(price))


def _micro(dollars: Decimal) -> int:
    return int((dollars * MICRO).to_integral_value(ROUND_CEILING))
