"""What tells a password or key from what merely stands where one would.

Each check takes what may be a secret, two characters before it and one behind it ("" at the end of the text), and
returns how many of its characters are the secret; None if it is none.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter

_LEAST_ENTROPY = 2.8
_LEAST_KEYED = 8
_SAMPLE = 64
_BASE64_SAMPLE = 128
_WORD = re.compile(r"(?:[A-Z]?[a-z]{2,}(?:[A-Z][a-z]{2,})*|[A-Z]+|[A-Za-z]{0,2})\d{0,3}|v?\d{1,4}")
_JOINTS = re.compile(r"[-_./:~+=%]")

_SAYS_NOTHING = re.compile(
    r"[\W_]*|[xX*.•_-]{3,}|\[redacted:.*|<[^>]*>?|\$[{(A-Za-z_].*|\{\{.*|%[(s].*|\{\w*\}?", re.DOTALL
)
_NO_PASSWORD = re.compile(
    "(?i)(?:str|string|text|varchar|char|bytes|int|integer|number|bool|boolean|any|object|none|null|nil|undefined|true"
    "|false|yes|no|required|optional|mandatory|hidden|empty|unset|missing|invalid|incorrect|wrong|reset|changed|expired"
    "|unknown|input|field|prompt|env|redacted|masked)[.,:;)!?\\]}]*"
)
_OWNERS = (
    "self|this|os|process|env|config|settings|request|req|args|ctx|user|data|form|body|params|options|opts|props|state"
    "|event|input|credentials|creds|cfg|conf|app|secrets|values|Values|var|local|module"
)
_CODE = re.compile(
    rf"[A-Za-z_][\w.]*[(\[{{].*|(?:{_OWNERS})(?:\??\.\w+)+[),;}}\]]*|[(\[{{<].*|(?:[~/]|\.{{1,2}}/).*|[a-z]+://.*|![a-z]+",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\W\d]+(?:[-'][^\W\d]+)*[.!?:)\]}]*")
_NAMED_SO = re.compile(r"(?i)pass(?:word|wd|phrase|wort)?|pwd|secret|credential")
_SENTENCE = re.compile(r"\w+(?:[ ,]+\w+){2,}.*", re.DOTALL)
_FEW_DIGITS = re.compile(r"\d{1,3}[+.]?")
_PORT = re.compile(r"\d+(?:[,/:].*)?")
_FILES = re.compile(r"(?i).*\.(?:png|jpe?g|gif|svg|webp|ico|css|jsx?|tsx?|py|rs|go|java|html|json|ya?ml)")
_ENDS_OF_LINE = ("", "\n", "\r")


def looks_random(text: str) -> bool:
    """Whether a text is made by chance: letters and digits, and not words, versions or counts joined by signs."""
    sample = text[:_SAMPLE]
    mixed = any(c.isdigit() for c in sample) and any(c.isalpha() for c in sample)
    return (
        mixed and not all(_WORD.fullmatch(part) for part in _JOINTS.split(sample)) and _entropy(sample) > _LEAST_ENTROPY
    )


def _entropy(text: str) -> float:
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def random_key(text: str, _before: str, after: str) -> int | None:
    """A key without a form of its own: it must look random, and not be the name of what is called."""
    return len(text) if looks_random(text) and after not in ("(", "[") else None


def keyed_secret(value: str) -> bool:
    """Whether the value of a member that is named after a key is one; there, short ones count as well."""
    return len(value) >= _LEAST_KEYED and not _SAYS_NOTHING.fullmatch(value) and looks_random(value)


def authorization(text: str, _before: str, _after: str) -> int | None:
    """Credentials behind the name of the header: anything that no placeholder is."""
    return len(text) if any(c.isdigit() for c in text) and not _SAYS_NOTHING.fullmatch(text) else None


def basic_credentials(text: str, _before: str, _after: str) -> int | None:
    """Credentials of HTTP's Basic scheme: base64 of a user, a colon and a password."""
    sample = text.rstrip("=")[:_BASE64_SAMPLE]
    sample = sample[: len(sample) // 4 * 4] if len(sample) == _BASE64_SAMPLE else sample + "=" * (-len(sample) % 4)
    try:
        decoded = base64.b64decode(sample, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return len(text) if ":" in decoded and decoded.isprintable() else None


def quoted_password(text: str, _before: str, _after: str) -> int | None:
    """What stands in quotes behind the word: not a placeholder, a type, or a sentence about passwords."""
    if _SAYS_NOTHING.fullmatch(text) or _NO_PASSWORD.fullmatch(text):
        return None
    about = _SENTENCE.fullmatch(text) and (_NAMED_SO.search(text) or text.endswith((".", "!", "?", ":")))
    return None if about else len(text)


def joined_password(text: str, _before: str, after: str) -> int | None:
    """What stands right behind `password=`: not a variable or a call."""
    if _is_no_value(text) or (_PLAIN.fullmatch(text) and (after == "," or text.endswith((")", "]", "}")))):
        return None
    return len(text)


def spaced_password(text: str, _before: str, after: str) -> int | None:
    """What stands behind `password: ` with a space: a plain word counts only if the line ends with it."""
    if _is_no_value(text) or _FEW_DIGITS.fullmatch(text):
        return None
    if _PLAIN.fullmatch(text) and (after not in _ENDS_OF_LINE or "_" in text or text.endswith((")", "]", "}"))):
        return None
    return len(text)


def _is_no_value(text: str) -> bool:
    named_so = _PLAIN.fullmatch(text) and _NAMED_SO.search(text)
    return bool(named_so or _NO_PASSWORD.fullmatch(text) or _SAYS_NOTHING.fullmatch(text) or _CODE.fullmatch(text))


def url_password(text: str, _before: str, _after: str) -> int | None:
    """The password of a URL, unless it is a placeholder."""
    return None if _SAYS_NOTHING.fullmatch(text) else len(text)


def user_password(text: str, _before: str, _after: str) -> int | None:
    """The password behind a user and a colon: no name of a group, no number and no port."""
    if _PORT.fullmatch(text) or _PLAIN.fullmatch(text) or _SAYS_NOTHING.fullmatch(text) or text.startswith("//"):
        return None
    return len(text)


def email(text: str, _before: str, after: str) -> int | None:
    """An address: not the user of a Git remote, and not the name of a file."""
    is_name = text.startswith("git@") or bool(_FILES.fullmatch(text))
    goes_on = after.isascii() and (after.isalnum() or after in ("_", "@"))
    return None if is_name or (goes_on and after) else len(text)
