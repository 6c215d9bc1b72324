"""One spelling for what reads the same: patterns are looked for in it as well as in the text as it came."""

from __future__ import annotations

import re
import unicodedata

# Everything that shows nothing: controls but line feed and tab, the format characters of Unicode (zero width, bidi,
# tags), what it calls ignorable by default (fillers, joiners, variation selectors), and lone surrogates.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def normalise(text: str) -> str:
    """The text in NFKC, without characters that show nothing; line feeds and tabs stay."""
    # Removed first: a mark behind an invisible character joins the letter before it only once that is gone.
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
