"""What the text of a statement must look like before a parser sees it.

A parser and a database may disagree about where a string or a comment ends; everything hidden in that gap is an attack.
So a text is taken only if every dialect agrees where its strings, names and comments begin and end.
"""

from __future__ import annotations

import re
import unicodedata

MAX_STATEMENT_CHARACTERS = 20_000
MAX_NESTING = 40
MAX_BRACKETS = 24
"""The parser's time grows fast with the indexes that follow each other."""

_CLOSING = {"'": "'", '"': '"', "`": "`"}
_BLANKS = " \t\n"
_LINE_COMMENT = re.compile(r"--(?:[ \t][^\n'\"`;\\$]*)?(?=\n|$)")
_BLOCK_COMMENT = re.compile(r"/\*(?![!+Mm])[^'\"`;\\$*/]*\*/")
_ESCAPED_QUOTE = re.compile(r"\\+['\"`]")
_DOLLAR_QUOTE = re.compile(r"\$\w*\$")
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_plain_statement(text: str) -> bool:
    """Whether a text is at most one statement, of bounded size, that every dialect cuts into the same pieces."""
    text = text.replace("\r\n", "\n")
    if len(text) > MAX_STATEMENT_CHARACTERS or _ESCAPED_QUOTE.search(text) or _DOLLAR_QUOTE.search(text):
        return False
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES and character not in "\t\n" for character in text):
        return False
    code = code_of(text)
    return code is not None and _is_one_plain_piece(code)


def code_of(text: str) -> str | None:
    """The text with every string, quoted name and comment replaced by blanks; None if one is cut or is not plain."""
    pieces = []
    position = 0
    while position < len(text):
        end = _end_of_piece(text, position)
        if end is None:
            return None
        pieces.append(text[position] if end == position + 1 else " ")
        position = end
    return "".join(pieces)


def _end_of_piece(text: str, position: int) -> int | None:
    character = text[position]
    if character in _CLOSING:
        # A doubled quote is a closing one and an opening one: the pieces join to the same.
        end = text.find(_CLOSING[character], position + 1)
        return end + 1 if end >= 0 else None
    for opening, comment in (("--", _LINE_COMMENT), ("/*", _BLOCK_COMMENT)):
        if text.startswith(opening, position):
            match = comment.match(text, position)
            return match.end() if match else None
    return position + 1


def _is_one_plain_piece(code: str) -> bool:
    code = code.strip(_BLANKS)
    if ";" in code.removesuffix(";") or "*/" in code or "\\" in code or "#" in code.replace("#>", ""):
        return False
    if not all(character.isascii() or character.isalnum() for character in code):
        return False
    return unicodedata.is_normalized("NFKC", code) and _depth(code) <= MAX_NESTING and code.count("[") <= MAX_BRACKETS


def _depth(code: str) -> int:
    deepest = depth = 0
    for character in code:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest + len(re.findall(r"\b(?:case|not)\b", code, re.IGNORECASE)) // MAX_NESTING
