"""Plain text in columns: aligned, never cutting or wrapping a name, free of control characters."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

GAP = 3
MISSING = "-"

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY

PHASE_STYLES = {"Healthy": "green", "Progressing": "cyan", "Paused": "yellow", "Degraded": "red"}


def printable(text: str) -> str:
    """Text on one line, without the control characters by which a message could rewrite the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def age(since: datetime, now: datetime) -> str:
    """Age as kubectl writes it: 42s, 7m30s, 12m, 3h20m, 5h, 2d, 3y; never negative."""
    passed = max(0, int((now - since).total_seconds()))
    if passed < 2 * _MINUTE:
        return f"{passed}s"
    if passed < 10 * _MINUTE:
        return _two_units(passed, _MINUTE, "m", 1, "s")
    if passed < 3 * _HOUR:
        return f"{passed // _MINUTE}m"
    if passed < 8 * _HOUR:
        return _two_units(passed, _HOUR, "h", _MINUTE, "m")
    if passed < 2 * _DAY:
        return f"{passed // _HOUR}h"
    return f"{passed // _DAY}d" if passed < 2 * _YEAR else f"{passed // _YEAR}y"


def _two_units(passed: int, big: int, big_name: str, small: int, small_name: str) -> str:
    rest = passed % big // small
    return f"{passed // big}{big_name}" + (f"{rest}{small_name}" if rest else "")


def columns(rows: Sequence[Sequence[str | Text]], *, indent: int = 0, gap: int = GAP) -> list[Text]:
    """Rows of equal length as aligned lines; the last column is not padded, and no cell is cut."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    return [_aligned(row, widths, indent, gap) for row in cells]


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(printable(value))


def _aligned(row: Iterable[Text], widths: Sequence[int], indent: int, gap: int) -> Text:
    line = Text(" " * indent)
    for cell, width in zip(row, widths, strict=True):
        line.append_text(cell)
        line.append(" " * (width - cell.cell_len + gap))
    line.rstrip()
    return line


def wrapped(text: str, *, width: int, indent: int) -> list[Text]:
    """A message over as many lines as it needs, broken only at spaces, so that names stay whole."""
    lines = textwrap.wrap(printable(text), max(width - indent, 20), break_long_words=False, break_on_hyphens=False)
    return [Text(" " * indent + line) for line in lines]


def joined(lines: Iterable[Text]) -> Text:
    """Lines as one text."""
    return Text("\n").join(lines)
