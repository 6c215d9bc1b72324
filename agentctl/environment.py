"""What a command takes from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from agentctl.cluster.client import Cluster, Target
    from agentctl.text.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock that waiting goes by; lengths in seconds."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Environment:
    """A way to a cluster, time, and what serves the agent of a file on a port of this machine."""

    connect: Callable[[Target], Cluster]
    now: Callable[[], datetime]
    timing: Timing
    serve: Callable[[Path, int, Terminal], None]
