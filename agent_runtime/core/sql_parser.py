"""The parser of each dialect with a bound on its steps: some nestings cost it time that doubles with each level."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlglot import exp

STEPS_PER_TOKEN = 12
"""Honest statements take two."""

MAX_STEPS = 30_000
MAX_TOKENS = 6_000


def parse(text: str, grammar: str) -> Sequence[exp.Expr | None]:
    """Statements of a text.

    Raises
    ------
    SqlglotError
        If it cannot be read, or not in a number of steps that goes with its length.
    """
    dialect = Dialect.get_or_raise(grammar)
    tokens = dialect.tokenize(text)
    if len(tokens) > MAX_TOKENS:
        raise ParseError("too many words")
    parser = _bounded(dialect.parser_class)(dialect=dialect)
    parser.steps_left = min(STEPS_PER_TOKEN * (len(tokens) + 10), MAX_STEPS)
    statements: Sequence[exp.Expr | None] = parser.parse(tokens, text)
    return statements


@cache
def _bounded(parser: Any) -> Any:  # noqa: ANN401 - the library makes its classes at run time
    class Bounded(parser):  # type: ignore[misc]
        """A parser that counts how often it moves, also backwards."""

        steps_left = 0

        def _advance(self, times: int = 1) -> None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise _TooManySteps
            super()._advance(times)

    return Bounded


class _TooManySteps(RecursionError):
    """No ParseError: that the parser takes for a reason to try otherwise."""
