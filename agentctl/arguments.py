"""The command line as people type it: global options anywhere, lengths of time in Go's style."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent_api.quantities import DURATION_PATTERN, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

GLOBAL_OPTIONS = ("-n", "--namespace", "--context", "--kubeconfig")


def global_options_first(arguments: Sequence[str]) -> list[str]:
    """Move the global options in front of the command, so that they may stand behind it as with kubectl."""
    first: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            return [*first, *rest, argument, *left]
        if argument in GLOBAL_OPTIONS and left:
            first += [argument, left.pop(0)]
        elif argument.partition("=")[0] in GLOBAL_OPTIONS[1:] or re.match(r"-n.", argument):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]


def parse_timeout(text: str) -> float:
    """Length in seconds of 90, 90s or 1m30s.

    Raises
    ------
    ValueError
        If it is neither.
    """
    length = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None
    if length is None and not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a length of time such as 90s or 1m30s")
    return seconds(text) if length is None else length
