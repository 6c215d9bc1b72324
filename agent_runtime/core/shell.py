"""Whether a command that a model wrote is one plain command of an allowed program.

What is accepted means the same argument vector to every POSIX shell: words, quotes and escapes, nothing that a shell
would act on or expand. Everything else is refused, so that there is nothing to be clever about.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_runtime.core.shell_programs import runs_something_else

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_COMMAND_CHARACTERS = 8192
MAX_ARGUMENTS = 512
_BLANKS = " \t"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+,:=@%^~")
_ESCAPABLE = frozenset(map(chr, range(0x20, 0x7F)))
_ESCAPED_IN_DOUBLE_QUOTES = frozenset('"\\$`')


def shell_holds(argument: object, allowed_programs: Sequence[str]) -> bool:
    """Whether an argument is one plain command of an allowed program that runs no other; False for anything else.

    A program is compared as it is written: `ls` does not stand for `/bin/ls`, nor the other way round.
    """
    argv = plain_command(argument) if isinstance(argument, str) else None
    return argv is not None and argv[0] in allowed_programs and not runs_something_else(argv)


def plain_command(command: str) -> tuple[str, ...] | None:
    """Argument vector of one plain command; None if a shell might read it in any other way."""
    if len(command) > MAX_COMMAND_CHARACTERS:
        return None
    words = _Words()
    try:
        _read(command, words)
    except _NotPlain:
        return None
    argv = tuple(words.done)
    if not argv or len(argv) > MAX_ARGUMENTS or "=" in argv[0] or not argv[0]:
        return None
    return argv


class _NotPlain(Exception):
    """A character with a meaning to a shell, or to nobody."""


@dataclass(slots=True)
class _Words:
    """Words that were read, and the one that is being read; `open` tells an empty one from none."""

    done: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    open: bool = False

    def add(self, text: str) -> None:
        self.current.append(text)
        self.open = True

    def close(self) -> None:
        if self.open:
            self.done.append("".join(self.current))
        self.current.clear()
        self.open = False


def _read(command: str, words: _Words) -> None:
    position = 0
    while position < len(command):
        character = command[position]
        position += 1
        if character in _BLANKS:
            words.close()
        elif character == "'":
            position = _read_single_quotes(command, position, words)
        elif character == '"':
            position = _read_double_quotes(command, position, words)
        elif character == "\\":
            words.add(_at(command, position, _ESCAPABLE))
            position += 1
        else:
            _add_plain(character, words)
    words.close()


def _add_plain(character: str, words: _Words) -> None:
    if character == "~" and (not words.open or words.current[-1][-1:] in ("=", ":", "")):
        raise _NotPlain
    if character not in _PLAIN and not _is_letter_of_other_script(character):
        raise _NotPlain
    words.add(character)


def _read_single_quotes(command: str, position: int, words: _Words) -> int:
    end = command.find("'", position)
    if end < 0:
        raise _NotPlain
    for character in command[position:end]:
        _require_text(character)
    words.add(command[position:end])
    return end + 1


def _read_double_quotes(command: str, position: int, words: _Words) -> int:
    words.add("")
    while (character := _at(command, position, None)) != '"':
        position += 1
        if character in "$`" or (character == "!" and _at(command, position, None) not in ' "'):
            raise _NotPlain
        _require_text(character)
        if character == "\\" and _at(command, position, None) in _ESCAPED_IN_DOUBLE_QUOTES:
            character = command[position]
            position += 1
        words.add(character)
    return position + 1


def _at(command: str, position: int, among: frozenset[str] | None) -> str:
    if position >= len(command) or (among is not None and command[position] not in among):
        raise _NotPlain
    return command[position]


def _require_text(character: str) -> None:
    """Refuse what is no visible text even between quotes: line breaks, control characters, look-alikes of blanks."""
    if " " <= character <= "~" or character == "\t" or _is_letter_of_other_script(character):
        return
    if character.isascii() or unicodedata.category(character)[0] not in "LMNPS":
        raise _NotPlain
    if not unicodedata.is_normalized("NFKC", character):
        raise _NotPlain


def _is_letter_of_other_script(character: str) -> bool:
    return not character.isascii() and character.isalnum() and unicodedata.is_normalized("NFKC", character)
