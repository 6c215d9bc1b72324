"""The units of a slot, at most MAX_UNITS: those with the lowest hashes, so that no outcome decides who is named."""

from __future__ import annotations

from collections.abc import Callable, ItemsView
from typing import Generic, TypeVar

from agent_api.observations import MAX_UNITS

_T = TypeVar("_T")


class UnitSample(Generic[_T]):
    """A bottom-k sample by name: complete for all names below `below`, or for all if `below` is empty."""

    def __init__(self) -> None:
        self._units: dict[str, _T] = {}
        self.below = ""

    def find(self, name: str, make: Callable[[], _T]) -> _T | None:
        """What is kept of a unit, made at its first run; None of one that the sample leaves out."""
        if self.below and name >= self.below:
            return None
        if name not in self._units:
            self._units[name] = make()
        if len(self._units) > MAX_UNITS:
            self.below = max(self._units)
            del self._units[self.below]
        return self._units.get(name)

    def items(self) -> ItemsView[str, _T]:
        """Names and what is kept of them."""
        return self._units.items()
