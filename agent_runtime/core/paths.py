"""Whether a path that a model wrote lies below an allowed folder, however a tool may read it.

A tool may decode escapes, fold Unicode or have a shell expand what is written before it opens a file. So a path is safe
only if each of these readings of it is; what has no honest use in a path is refused at once.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PATH_CHARACTERS = 4096
MAX_PATHS = 256
_MAX_DECODINGS = 4

_KERNEL_FOLDERS = ("proc", "sys", "dev", "etc", "boot", "run", "var/run", "private/etc", "private/var/run")
"""Never allowed, whatever the prefixes are."""

_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "root", "var", "private", "opt", "snap")
"""Allowed only by a prefix that lies within them: `/` does not mean these."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_CLIMB = re.compile(r"(?<![0-9A-Za-z_.?])[.?]{2,}(?![0-9A-Za-z_.?])")
"""Two dots or more; a question mark is what a coarser alphabet makes of a dot that it does not have."""

_EXPANSION = re.compile(r"[\\`|]|\$[A-Za-z_0-9{(\['\"]|%[A-Za-z_]\w*%|%u[0-9A-Fa-f]{4}|&#?\w+;|(?:^|/)\s*~")
_CODE_NUMBER = re.compile(r"0x(?:(2e)|2f|5c)", re.IGNORECASE)
_CLASS = re.compile(r"\[.*\]")
_BRACES = re.compile(r"\{.*\}")
_WILDCARDS = ".?*"
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LOOK_ALIKES = str.maketrans(
    dict.fromkeys("\u2044\u2215\u29f8\u2571\u27cb", "/")
    | dict.fromkeys("\u2216\u29f5\u29f9\u27cd\u2572", "\\")
    | dict.fromkeys("\u3002\uff61\u06d4\u0701\u0702\ua4f8\u2e33\u0589\u00b7\u0387\u22c5\u2219", ".")
)


def paths_hold(argument: object, prefixes: Sequence[str]) -> bool:
    """Whether an argument is a safe path below one of the prefixes, or a list of only such; False for anything else."""
    if isinstance(argument, list):
        return (
            0 < len(argument) <= MAX_PATHS
            and all(isinstance(item, str) for item in argument)
            and all(is_safe_path(item, prefixes) for item in argument)
        )
    return isinstance(argument, str) and is_safe_path(argument, prefixes)


def is_safe_path(path: str, prefixes: Sequence[str]) -> bool:
    """Whether every reading of an absolute path lies below one of the prefixes and outside of system folders."""
    if len(path) > MAX_PATH_CHARACTERS:
        return False
    below = [_components(prefix) for prefix in prefixes]
    try:
        return all(_reading_is_safe(reading, below) for reading in _readings(path))
    except _Unreadable:
        return False


class _Unreadable(Exception):
    """A path whose meaning depends on who reads it."""


def _readings(path: str) -> Iterator[str]:
    """The path as it is and as each decoding leaves it, until decoding changes nothing."""
    for _ in range(_MAX_DECODINGS):
        folded = unicodedata.normalize("NFKC", path).translate(_LOOK_ALIKES)
        folded = _CODE_NUMBER.sub(lambda match: "." if match.group(1) else "/", folded)
        yield path
        yield folded
        decoded = _ESCAPES.sub(_decode, folded)
        if decoded == path:
            return
        path = decoded
    raise _Unreadable


def _decode(match: re.Match[str]) -> str:
    try:
        return bytes(int(pair, 16) for pair in _ESCAPE.findall(match.group())).decode()
    except UnicodeDecodeError:
        # Overlong forms such as %c0%ae are a dot to some readers and an error to others.
        raise _Unreadable from None


def _reading_is_safe(reading: str, below: Sequence[tuple[str, ...]]) -> bool:
    if not reading.startswith("/") or reading.startswith("//"):
        return False
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in reading):
        return False
    if _CLIMB.search(reading) or _EXPANSION.search(reading):
        return False
    components = _components(reading)
    if any(_globs_to_parent(component) for component in components):
        return False
    return any(components[: len(prefix)] == prefix and not _in_system_folder(components, prefix) for prefix in below)


def _components(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _globs_to_parent(component: str) -> bool:
    """Whether a shell may find that a pattern means `..`: its first dot must be written, the second need not be."""
    if not any(sign in component for sign in "?*[{"):
        return False
    shape = _BRACES.sub(_shape_of_braces, _CLASS.sub("?", component))
    return shape[0] in ".{" and not set(shape).difference(_WILDCARDS, "{")


def _shape_of_braces(match: re.Match[str]) -> str:
    choices = re.split("[{},]", match.group()[1:-1])
    return "{" if any(not choice.strip(_WILDCARDS) for choice in choices) else "name"


def _in_system_folder(components: tuple[str, ...], prefix: tuple[str, ...]) -> bool:
    # Folded, for file systems that tell no case apart; stripped, for those that drop blanks at an end.
    folded = "/".join(part.strip(" .").casefold() for part in components)
    allowed = "/".join(prefix).casefold()
    return any(_is_within(folded, folder) for folder in _KERNEL_FOLDERS) or any(
        _is_within(folded, folder) and not allowed.startswith(f"{folder}/") for folder in _SYSTEM_FOLDERS
    )


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
