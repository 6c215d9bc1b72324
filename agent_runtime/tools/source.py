"""The protocol of a source of tools, and the ways a call fails.

SourceError
├── SourceUnavailable  the source was not reached, broke off or has answered that it cannot
├── SourceTimeout      the source did not answer in time
└── ToolFailed         the source ran the tool, or refused to, and says what is wrong
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_TOOLS = 256
MAX_DESCRIPTION_CHARACTERS = 2048
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Most that is read of one answer, whatever the cap of the policy is."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as its source describes it; `parameters` is the JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class SourceError(Exception):
    """A call that brought no result; the message is for the model and holds no secret."""


class SourceUnavailable(SourceError):
    """The source was not reached, broke off, or said that it cannot now."""


class SourceTimeout(SourceError):
    """The source did not answer in time."""


class ToolFailed(SourceError):
    """The source answered, and what it says is no success."""


class ToolSource(Protocol):
    """Anything that lists tools and runs them."""

    @property
    def name(self) -> str:
        """Prefix of its tools."""
        ...

    @property
    def listed(self) -> bool:
        """Whether its tools are known and it can be asked now."""
        ...

    def tools(self) -> tuple[Tool, ...]:
        """Tools of the last listing."""
        ...

    async def run(self) -> None:
        """Own everything that the source needs, until cancelled; returns only if there is nothing left to do."""
        ...

    async def call(self, tool: str, arguments: Mapping[str, Any], trace: Mapping[str, str], seconds: float) -> str:
        """Text of a result; raises SourceError. The source gives up after `seconds`."""
        ...


def usable_tools(tools: Iterable[Tool], complain: Callable[[str, str], None]) -> tuple[Tool, ...]:
    """Tools with a name that can be told to a model, each once, at most MAX_TOOLS; `complain` hears of the rest."""
    usable: dict[str, Tool] = {}
    for tool in tools:
        if not _TOOL_NAME.fullmatch(tool.name):
            complain(tool.name[:128], "its name has characters that tools cannot have, or more than 128")
        elif tool.name in usable:
            complain(tool.name, "its name is taken")
        elif len(usable) >= MAX_TOOLS:
            complain(tool.name, f"the source has more than {MAX_TOOLS} tools")
        else:
            usable[tool.name] = tool
    return tuple(usable.values())
