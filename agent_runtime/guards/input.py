"""The guard of questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runtime.guards.blocked import BlockedPatterns, GuardBlocked, guard_failed

if TYPE_CHECKING:
    from agent_api.runtime_document import GuardsDocument

MAX_LENGTH_RULE = "maxLength"


class InputGuard:
    """Refuses questions that are too long or hold a blocked pattern."""

    def __init__(self, document: GuardsDocument) -> None:
        self._document = document
        self._patterns: BlockedPatterns | None = None

    def check(self, text: str, *, bounded: bool = True) -> None:
        """Pass a question, or, not `bounded`, something that comes with one and may be longer.

        Raises
        ------
        GuardBlocked
            If it is refused, or if the guard fails.
        """
        try:
            self._check(text, bounded=bounded)
        except GuardBlocked:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails here, nothing may pass
            raise guard_failed("input", error) from None

    def _check(self, text: str, *, bounded: bool) -> None:
        if bounded and len(text) > self._document.max_length:
            reason = f"The question has {len(text)} characters; at most {self._document.max_length} are allowed."
            raise GuardBlocked(MAX_LENGTH_RULE, reason)
        if self._patterns is None:
            self._patterns = BlockedPatterns(self._document.blocked_input)
        position = self._patterns.find(text)
        if position is not None:
            raise GuardBlocked(f"blockedPatterns[{position}]", "The question holds what this agent must not be asked.")
