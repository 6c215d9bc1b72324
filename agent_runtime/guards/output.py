"""The guard of answers, whole and while they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runtime.core.asked import all_of_arguments
from agent_runtime.core.redaction import Redactor
from agent_runtime.guards.blocked import BlockedPatterns, GuardBlocked, guard_failed

if TYPE_CHECKING:
    from agent_api.runtime_document import GuardsDocument
    from agent_api.v1alpha1.guards import Redaction

HELD_CHARACTERS = 256
"""How much of an answer that arrives is held back where patterns are blocked: nothing of a shorter match gets out."""

WINDOW_CHARACTERS = 2048
"""How far back a blocked pattern is looked for while an answer arrives; at its end it is looked for in all of it."""


class OutputGuard:
    """Withholds answers that hold a blocked pattern and blots secrets out of the others."""

    def __init__(self, document: GuardsDocument) -> None:
        self.redactor = Redactor(document.redact)
        self._document = document
        self._patterns: BlockedPatterns | None = None

    def check(self, text: str) -> str:
        """The answer without its secrets.

        Raises
        ------
        GuardBlocked
            If it is withheld, or if the guard fails.
        """
        stream = self.stream()
        return stream.feed(text) + stream.finish()

    def check_arguments(self, arguments: str) -> None:
        """Pass arguments that a model wrote for a tool, which are shown to people; raises as `check`."""
        try:
            position = self.patterns().find(all_of_arguments(arguments))
        except Exception as error:  # noqa: BLE001 - whatever fails here, nothing may pass
            raise guard_failed("output", error) from None
        if position is not None:
            raise _withheld(position)

    def stream(self) -> GuardedStream:
        """Guard of one answer that arrives in parts."""
        return GuardedStream(self)

    def patterns(self) -> BlockedPatterns:
        """Blocked patterns, compiled when they are first needed, where a failure is a refusal."""
        if self._patterns is None:
            self._patterns = BlockedPatterns(self._document.blocked_output)
        return self._patterns


def _withheld(position: int) -> GuardBlocked:
    return GuardBlocked(f"blockedPatterns[{position}]", "The answer holds what this agent must not say.")


class GuardedStream:
    """Guards one answer. All that it gives out together is what `OutputGuard.check` gives for the whole."""

    def __init__(self, guard: OutputGuard) -> None:
        self._guard = guard
        self._redactor = guard.redactor.stream()
        self._parts: list[str] = []
        self._window = ""
        self._truncated = False
        self._held = ""
        self._refusal: GuardBlocked | None = None

    @property
    def counts(self) -> dict[Redaction, int]:
        """How many secrets of each kind were blotted out so far."""
        return self._redactor.counts

    def feed(self, delta: str) -> str:
        """Take the next part and return what the caller may see now.

        Raises
        ------
        GuardBlocked
            If the answer is withheld from here on, or if the guard fails; so does every later call.
        """
        return self._guarded(delta, last=False)

    def finish(self) -> str:
        """Return the rest of the answer; raises as `feed`."""
        return self._guarded("", last=True)

    def _guarded(self, delta: str, *, last: bool) -> str:
        if self._refusal is None:
            try:
                return self._passed(delta, last=last)
            except GuardBlocked as refusal:
                self._refusal = refusal
            except Exception as error:  # noqa: BLE001 - whatever fails here, nothing may pass
                self._refusal = guard_failed("output", error)
        raise self._refusal

    def _passed(self, delta: str, *, last: bool) -> str:
        patterns = self._guard.patterns()
        if not patterns:
            return self._redactor.feed(delta, last=last)
        self._parts.append(delta)
        self._look_again(delta)
        position = (
            patterns.find("".join(self._parts))
            if last
            else patterns.find_before_end(self._window, int(self._truncated))
        )
        if position is not None:
            raise _withheld(position)
        self._held += delta
        free = len(self._held) if last else max(len(self._held) - HELD_CHARACTERS, 0)
        released, self._held = self._held[:free], self._held[free:]
        return self._redactor.feed(released, last=last)

    def _look_again(self, delta: str) -> None:
        window = self._window + delta
        reach = WINDOW_CHARACTERS + len(delta)
        self._truncated = self._truncated or len(window) > reach
        self._window = window[-reach:]
