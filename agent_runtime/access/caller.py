"""Who asks, and by what that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agent_api.meta import USER_HEADER
from agent_runtime.errors import invalid_field

ANONYMOUS = "anonymous"
MAX_USER_CHARACTERS = 256

Credential = Literal["none", "api-key", "jwt"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. With credential "none" the name is what the caller says of himself, or ANONYMOUS."""

    user: str = ANONYMOUS
    credential: Credential = "none"

    def named(self, user_id: str | None) -> Caller:
        """The caller under the name that the body gives; where there was a credential or a header, that stays.

        Raises
        ------
        Problem
            If the name is none that can be used.
        """
        if user_id is None or self.credential != "none" or self.user != ANONYMOUS:
            return self
        return replace(self, user=checked_user(user_id, "user_id"))


def is_user(name: object) -> bool:
    """Whether something can name a user."""
    return (
        isinstance(name, str) and 0 < len(name) <= MAX_USER_CHARACTERS and name.isprintable() and name == name.strip()
    )


def user_of_header(value: str) -> str:
    """The user that a header names, given as the server reads it: its bytes are UTF-8, as a name in a body is.

    Raises
    ------
    Problem
        If they are not, or name nobody.
    """
    try:
        name = value.encode("latin-1").decode()
    except UnicodeError:
        raise invalid_field(USER_HEADER, "a user's name is text in UTF-8") from None
    return checked_user(name, USER_HEADER)


def checked_user(name: str, field: str) -> str:
    """The name of a user as a request gives it; raises Problem, with the field, if it is none."""
    if not is_user(name):
        wanted = f"a user's name has 1 to {MAX_USER_CHARACTERS} printable characters, no spaces around them"
        raise invalid_field(field, wanted)
    return name
