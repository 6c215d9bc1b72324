"""Which units have counted in a rollout, so that none counts twice: short hashes in one text of bounded length."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent_api.v1alpha1.route import MAX_COUNTED_TEXT

_HASH_CHARACTERS = 8
_HASH_BITS = 32
MAX_COUNTED = MAX_COUNTED_TEXT // _HASH_CHARACTERS
_TEXT = re.compile(rf"(\d\d?):((?:[0-9a-f]{{{_HASH_CHARACTERS}}})*)")


@dataclass(frozen=True, slots=True)
class CountedUnits:
    """Units that have counted.

    When there are too many, only the lower half of all hashes is asked from then on, and so again at each further time:
    which units those are has nothing to do with what became of them.
    """

    names: frozenset[str] = frozenset()
    halvings: int = 0

    def admits(self, name: str) -> bool:
        """Whether a unit may count now: it is asked, and has not counted."""
        short = name[:_HASH_CHARACTERS]
        return self._asks(short) and short not in self.names

    def has(self, name: str) -> bool:
        """Whether a unit has counted, as far as is remembered."""
        return name[:_HASH_CHARACTERS] in self.names

    def adding(self, names: frozenset[str]) -> CountedUnits:
        """The same with further units."""
        grown = CountedUnits(self.names | {name[:_HASH_CHARACTERS] for name in names}, self.halvings)
        while len(grown.names) > MAX_COUNTED:
            halved = CountedUnits(halvings=grown.halvings + 1)
            grown = CountedUnits(frozenset(filter(halved._asks, grown.names)), halved.halvings)
        return grown

    def _asks(self, short: str) -> bool:
        return int(short, 16) < 1 << (_HASH_BITS - self.halvings)

    def __str__(self) -> str:
        """The text that the ledger keeps."""
        return f"{self.halvings}:{''.join(sorted(self.names))}"


def read_counted(text: str) -> CountedUnits:
    """Units as a ledger keeps them; of a text that was damaged, none."""
    match = _TEXT.fullmatch(text)
    if match is None or int(match[1]) > _HASH_BITS:
        return CountedUnits()
    packed = match[2]
    names = (packed[at : at + _HASH_CHARACTERS] for at in range(0, len(packed), _HASH_CHARACTERS))
    return CountedUnits(frozenset(names), int(match[1]))
