"""What the shop knows. Its tools only pretend: no command runs, no file is written, no statement is executed."""

from __future__ import annotations

import hashlib

ARTICLES = {
    "returns": "Goods may be sent back within 30 days of delivery.",
    "shipping": "Orders leave the warehouse within two working days.",
    "warranty": "Every device has a warranty of two years.",
}
_WEATHER = ("sunny", "cloudy", "rainy", "snowy")
_STATES = ("open", "shipped", "delivered")
_MAX_MATCHES = 3


def weather_in(city: str) -> dict[str, object]:
    """Weather that is always the same for a city."""
    draw = _draw(city.lower())
    return {"city": city, "weather": _WEATHER[draw % len(_WEATHER)], "celsius": draw % 35 - 5}


def order_of(order_id: str) -> dict[str, object]:
    """Order that is always the same for an id."""
    draw = _draw(order_id)
    return {"id": order_id, "state": _STATES[draw % len(_STATES)], "totalUSD": f"{draw % 500}.00"}


def articles_about(query: str) -> list[str]:
    """Articles that share a word with the query, else the first few."""
    words = set(query.lower().split())
    found = [text for topic, text in ARTICLES.items() if words & {topic, *text.lower().split()}]
    return (found or list(ARTICLES.values()))[:_MAX_MATCHES]


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
