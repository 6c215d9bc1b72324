"""One run of the program, as every command gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentctl.rollout.guidance import Invocation
from agentctl.rollout.reading import Reader

if TYPE_CHECKING:
    from agentctl.cluster.client import Target
    from agentctl.environment import Environment
    from agentctl.text.terminal import Terminal


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One run of the program: where it looks, with what, and where it prints."""

    target: Target
    environment: Environment
    terminal: Terminal
    program: str

    def invocation(self) -> Invocation:
        """How to call the program again with the same target."""
        return Invocation(self.program, self.target.flags())

    def reader(self) -> Reader:
        """What reads from the target."""
        cluster = self.environment.connect(self.target)
        return Reader(cluster, self.environment, self.invocation(), self.terminal.width)
