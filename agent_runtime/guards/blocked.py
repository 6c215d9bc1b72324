"""The one way in which a guard refuses, and the patterns that make it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import re2  # type: ignore[import-untyped]
import structlog

from agent_runtime.core.normalising import normalise
from agent_runtime.errors import Problem, ProblemType

if TYPE_CHECKING:
    from collections.abc import Sequence

GUARD_FAILED = "guardFailed"
_log = structlog.get_logger("agent_runtime.guards")


class GuardBlocked(Exception):
    """A text was refused.

    `rule` names the rule and takes few values, so that it may be a label; `reason` is for the caller and quotes neither
    the text nor a pattern.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason

    def problem(self) -> Problem:
        """The refusal as the caller is told of it."""
        return Problem(ProblemType.GUARD_BLOCKED, HTTPStatus.BAD_REQUEST, self.reason, {"rule": self.rule})


def guard_failed(guard: str, error: Exception) -> GuardBlocked:
    """Refusal because the guard itself failed; the log has the kind of the failure, never the text."""
    _log.error("guard failed and refuses", guard=guard, cause=type(error).__name__)
    return GuardBlocked(GUARD_FAILED, f"The {guard} guard failed, and without it nothing passes.")


class BlockedPatterns:
    """RE2 expressions, none of which may be found in a text or in its normalised form."""

    def __init__(self, patterns: Sequence[str]) -> None:
        options = re2.Options()
        options.log_errors = False
        self._expressions = [re2.compile(pattern, options) for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def find(self, text: str) -> int | None:
        """Position of the first expression that is found; None if none is."""
        if not self._expressions:
            return None
        forms = dict.fromkeys((encoded(text), encoded(normalise(text))))
        for position, expression in enumerate(self._expressions):
            if any(expression.search(form) for form in forms):
                return position
        return None

    def find_before_end(self, text: str, context: int) -> int | None:
        r"""As `find`, for a text that may go on: a match that touches its end may still change.

        The first `context` characters are there to be looked back at, as by `^` and `\b`; nothing begins in them.
        """
        before, rest = encoded(text[:context]), text[context:]
        for form in dict.fromkeys((encoded(rest), encoded(normalise(rest)))):
            for position, expression in enumerate(self._expressions):
                match = expression.search(before + form, len(before))
                if match is not None and match.end() < len(before) + len(form):
                    return position
        return None


def encoded(text: str) -> bytes:
    """UTF-8 of a text; lone surrogates, which it cannot hold, become question marks."""
    return text.encode(errors="replace")
