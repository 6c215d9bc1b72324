"""How a secret is described, so that it can be found in a whole text and in one that is still arriving.

A description is a sequence of pieces of bounded length. From it come two RE2 expressions: one that finds the secret,
and one that finds what may still become it. Text before the second's match is final, however the stream is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2  # type: ignore[import-untyped]

from agent_api.v1alpha1.guards import Redaction

BOUNDARY = r"(?:\b|\\[nrt])"
"""Where a word begins; behind an escaped line end as well, as in JSON inside of text."""

_BOUNDARY_BEGUN = r"\\[nrt]?"
_CHARACTER_BYTES = 4
_MAX_EXPRESSION_BYTES = 64 * 1024 * 1024

Check = Callable[[str, str, str], int | None]
"""Takes what may be a secret, two characters before it and one behind it ("" at the end of the text).

Returns how many characters of it are the secret; None if it is none.
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """`pattern` is the piece, of at most `longest` bytes.

    `begun` is what may become it followed by `{rest}`. It may match more, never less: it counts no repetitions, so that
    its automaton stays small.
    """

    pattern: str
    begun: str
    longest: int


def words(*texts: str, ignore_case: bool = False) -> Piece:
    """One of several fixed texts."""
    flag = "(?i:" if ignore_case else "(?:"
    whole = flag + "|".join(map(re2.escape, texts)) + ")"
    parts = flag + "|".join(_begun(text) for text in texts) + ")"
    longest = max(len(text.encode()) for text in texts)
    return Piece(whole, f"(?:{whole}(?:{{rest}})?|{parts})", longest)


def some(unit: str, least: int, most: int, *, loose: tuple[str, int] | None = None) -> Piece:
    """`least` to `most` times `unit`; if that is no single character, `loose` is its alphabet and its longest form."""
    characters, number = loose or (unit, 1)
    width = 1 if characters.isascii() and not characters.startswith("[^") else _CHARACTER_BYTES
    repeated = "?" if most * number == 1 and least == 0 else "" if most * number == 1 else "*" if least == 0 else "+"
    return Piece(f"{unit}{{{least},{most}}}", f"{characters}{repeated}(?:{{rest}})?", most * number * width)


def _begun(text: str) -> str:
    begun = ""
    for character in reversed(text[:-1]):
        begun = re2.escape(character) + (f"(?:{begun})?" if begun else "")
    return begun or r"\z"


def beginning(pieces: tuple[Piece, ...]) -> str:
    """Expression of every text that may become these pieces in order."""
    rest = ""
    for piece in reversed(pieces):
        rest = piece.begun.replace("{rest}", rest)
    return rest


def whole(pieces: tuple[Piece, ...]) -> str:
    """Expression of these pieces in order."""
    return "".join(piece.pattern for piece in pieces)


def compiled(pattern: str, *, capture: bool = True) -> Any:  # noqa: ANN401 - google-re2 has no types
    """RE2 expression; the memory is for its automaton, which is built as far as texts need it."""
    options = re2.Options()
    options.never_capture = not capture
    options.max_mem = _MAX_EXPRESSION_BYTES
    options.log_errors = False
    return re2.compile(pattern, options)


def longest(pieces: tuple[Piece, ...]) -> int:
    """Most bytes of these pieces in order."""
    return sum(piece.longest for piece in pieces)


class Tail:
    """How a secret goes on, without end, once it was recognised.

    `steps` are taken one after the other; the first is a run of characters and may be cut anywhere. `last` ends it.
    """

    def __init__(self, run: str, *steps: tuple[Piece, ...], last: tuple[Piece, ...] = ()) -> None:
        self.step = compiled("|".join([f"{run}+", *map(whole, steps)]))
        self.last = compiled(whole(last)) if last else None
        self.longest = max(longest(pieces) for pieces in (*steps, last))
        begun = [beginning(pieces) for pieces in (*steps, last) if pieces]
        self.begun = compiled("|".join(begun)) if begun else None


@dataclass(frozen=True, slots=True)
class Detector:
    """One sort of secret: what stands before it, itself, and what must follow."""

    kind: Redaction
    secret: tuple[Piece, ...]
    before: tuple[Piece, ...] = ()
    after: tuple[Piece, ...] = ()
    check: Check | None = None
    tail: Tail | None = None
    bounded: bool = True

    @property
    def pattern(self) -> str:
        """Expression whose only group is the secret."""
        boundary = BOUNDARY if self.bounded else ""
        return f"{boundary}{whole(self.before)}({whole(self.secret)}){whole(self.after)}"

    @property
    def longest(self) -> int:
        """Most bytes from the boundary on after which it is settled whether this is the secret."""
        return len(r"\n") + longest((*self.before, *self.secret, *self.after)) + _CHARACTER_BYTES

    @property
    def begun(self) -> str:
        """Expression of what may become this secret, with the boundary before it."""
        inner = beginning((*self.before, *self.secret, *self.after))
        return f"(?:{BOUNDARY}{inner}|{_BOUNDARY_BEGUN})" if self.bounded else inner
