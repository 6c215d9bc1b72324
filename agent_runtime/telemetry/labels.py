"""Keeps the values of a label few, whatever callers and models write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER = "other"
MAX_VALUES = 200


class Vocabulary:
    """Values that a label may take; every other is OTHER. An open one takes in what it meets until it is full."""

    def __init__(self, known: Iterable[str] = (), *, is_open: bool = False, limit: int = MAX_VALUES) -> None:
        self._known: set[str] = set()
        self._is_open = is_open
        self._limit = limit
        self.learn(known)

    def learn(self, names: Iterable[str]) -> None:
        """Take in further values, as far as there is room."""
        for name in names:
            if len(self._known) >= self._limit:
                return
            self._known.add(name)

    def value(self, name: str) -> str:
        """The value to use for a name."""
        if self._is_open:
            self.learn((name,))
        return name if name in self._known else OTHER
