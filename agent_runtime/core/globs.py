"""Names with wildcards, matched in time that a hostile name cannot stretch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def glob_matches(glob: str, name: str) -> bool:
    """Whether a whole name is of the glob's form: `*` stands for any characters, also none, `?` for one."""
    position = star = retry = 0
    starred = False
    for_name = 0
    while for_name < len(name):
        if position < len(glob) and glob[position] == "*":
            starred, star, retry = True, position, for_name
            position += 1
        elif position < len(glob) and glob[position] in ("?", name[for_name]):
            position += 1
            for_name += 1
        elif starred:
            # Only the last star needs another try: what the earlier ones took can stay.
            retry += 1
            position, for_name = star + 1, retry
        else:
            return False
    return set(glob[position:]) <= {"*"}


def any_glob_matches(globs: Iterable[str], name: str) -> bool:
    """Whether one of the globs matches the name."""
    return any(glob_matches(glob, name) for glob in globs)
