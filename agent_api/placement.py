"""How a gateway placed a request: what was randomised, and by what, is evidence for the verdict; all else is none."""

from __future__ import annotations

from enum import StrEnum

PLACEMENT_HEADER = "x-greylag-placed"
"""Set by the gateway on every request that it forwards; clients cannot set it, as it takes away all `x-greylag-*`."""


class Placement(StrEnum):
    """Why a request came to the revision that it came to."""

    SPLIT = "split"
    """A new conversation, placed at random by the weights of stable and canary."""
    SPLIT_BY_USER = "split-by-user"
    """A new conversation, placed by its user's side of the weights."""
    WHOLE = "whole"
    """A new conversation while one revision takes all of them: there was nothing to choose."""
    PINNED = "pinned"
    """A conversation that names its revision by its id."""
    FOREIGN = "foreign"
    """An id that no serving revision made: a caller's own, or one whose revision is gone."""
