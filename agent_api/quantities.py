"""Durations and decimals as users write them: Go-style strings and decimal strings."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import Field, JsonValue

DURATION_PATTERN = r"^([0-9]{1,7}(\.[0-9]{1,3})?(ms|s|m)|[0-9]{1,5}(\.[0-9]{1,3})?h)+$"
"""Digits are bounded so that the longest text stays below the 292 years that a duration of CEL can hold."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


Duration = Annotated[str, Field(max_length=32, pattern=DURATION_PATTERN)]
"""A Go-style duration such as 90s, 5m or 1h30m."""

Fraction = Annotated[str, Field(max_length=16, pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")]
"""A decimal string between 0 and 1, such as 0.02."""

Money = Annotated[str, Field(max_length=16, pattern=r"^[0-9]{1,8}(\.[0-9]{1,6})?$")]
"""Dollars as a decimal string, such as 0.50; six places are the smallest unit, a micro-dollar."""


def positive_durations(*names: str, longest: str = "") -> list[JsonValue]:
    """Rules by which the API server refuses durations of zero, and those above `longest` if given.

    Names are those of the wire; a field that is not set is not checked.
    """
    rules: list[JsonValue] = []
    for name in names:
        rule = f"!has(self.{name}) || (duration(self.{name}) > duration('0s')"
        message = f"{name} must be more than 0s"
        if longest:
            rule += f" && duration(self.{name}) <= duration('{longest}')"
            message += f" and at most {longest}"
        rules.append({"rule": f"{rule})", "message": message, "fieldPath": f".{name}"})
    return rules


def seconds(duration: str) -> float:
    """Length of a duration in seconds.

    Raises
    ------
    ValueError
        If the text is not a Go-style duration.
    """
    if not re.fullmatch(DURATION_PATTERN, duration):
        raise ValueError(f"{duration!r} is not a duration such as 90s, 5m or 1h30m")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(duration))


def fraction(text: str) -> float:
    """Value of a decimal string between 0 and 1."""
    return float(Decimal(text))


def micro_dollars(text: str) -> int:
    """Value of a money string in micro-dollars, the unit of all sums."""
    return int(Decimal(text) * 1_000_000)


def dollars(micro: int) -> str:
    """Write micro-dollars as a decimal string of dollars."""
    return f"{Decimal(micro) / 1_000_000:f}"
