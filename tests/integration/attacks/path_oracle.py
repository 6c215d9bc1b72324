"""Whether some reader of a path may end up outside of a folder, told by the standard library alone.

Every reading that a careless tool might give a path is taken, and readings of readings, and each is resolved by
`posixpath` and `ntpath`. It knows nothing of the check that it judges.
"""

from __future__ import annotations

import html
import ntpath
import posixpath
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote, unquote_plus

_ROUNDS = 4
_MAX_READINGS = 400
_SYSTEM = re.compile(r"/(?:etc|proc|sys|dev|boot|run|root|bin|sbin|usr|var|lib(?:32|64|x32)?)(?:/|\Z)", re.IGNORECASE)
_OVERLONG = re.compile(r"[\xc0-\xc1]([\x80-\xbf])|\xe0\x80([\x80-\xbf])|\xf0\x80\x80([\x80-\xbf])", re.DOTALL)
Reading = Callable[[str], str]


def _overlong(path: str) -> str:
    """As a decoder that accepts forms longer than need be."""

    def character(match: re.Match[str]) -> str:
        lead = ord(match.group()[0]) & 1 if match.group(1) else 0
        return chr(lead << 6 | ord(next(filter(None, match.groups()))) & 0x3F)

    return _OVERLONG.sub(character, unquote(path, "latin-1"))


def _wide(path: str) -> str:
    """As a decoder of `%uXXXX`, `\\uXXXX` and `\\xXX`."""
    return re.sub(r"(?:%u|\\u|\\x|0x)([0-9A-Fa-f]{4}|[0-9A-Fa-f]{2})", lambda match: chr(int(match.group(1), 16)), path)


_READINGS: tuple[Reading, ...] = (
    unquote,
    unquote_plus,
    lambda path: unquote(path, "latin-1"),
    _overlong,
    _wide,
    html.unescape,
    lambda path: unicodedata.normalize("NFKC", path),
    lambda path: unicodedata.normalize("NFKD", path).encode("ascii", "ignore").decode(),
    lambda path: path.replace("\\", "/"),
    lambda path: path.split("\0", 1)[0],
    lambda path: re.sub(r"[\x00-\x20\x7f]", "", path),
    lambda path: path.replace("../", ""),
    lambda path: re.sub(r";[^/]*", "", path),
    lambda path: re.sub(r"[?*]", ".", path),
    lambda path: re.sub(r"\A(?:file|[a-z]+)://?", "", path, flags=re.IGNORECASE),
    lambda path: re.sub(r"(?:\A|/)(?:~|\$HOME|\$\{HOME\})(?=/)", "/root", path),
)


def escapes(path: str, folder: str) -> bool:
    """Whether some reading of a path lies outside of a folder, or in a folder of the system."""
    return any(_is_outside(reading, folder) for reading in readings(path))


def readings(path: str) -> set[str]:
    """A path as it is, and as up to four careless readers after one another take it."""
    known = {path}
    newest = known
    for _ in range(_ROUNDS):
        newest = {reading(text) for text in newest for reading in _READINGS} - known
        known = known | newest
        if not newest or len(known) > _MAX_READINGS:
            break
    return known


def _is_outside(path: str, folder: str) -> bool:
    if not path.startswith("/"):
        return True
    resolved = posixpath.normpath(path)
    inside = resolved == folder or resolved.startswith(f"{folder}/")
    windows = ntpath.normpath(path).replace("\\", "/")
    return (
        not inside
        or not (windows == folder or windows.startswith(f"{folder}/"))
        or _SYSTEM.match(resolved) is not None
        or any(part in ("..", "...") for part in path.split("/"))
    )
