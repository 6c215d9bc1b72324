"""Where text goes: colour only on a terminal, and lines never broken by the printer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from typing import TextIO

    from rich.text import Text

MAX_WIDTH = 120


class Terminal:
    """Standard output and standard error."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._err = err

    @property
    def width(self) -> int:
        """Columns that messages are wrapped at."""
        return min(self._console.width, MAX_WIDTH)

    @property
    def redraws(self) -> bool:
        """Whether a new text takes the place of the old one."""
        return self._console.is_terminal

    def show(self, text: Text | str, end: str = "\n") -> None:
        """Print a text."""
        self._console.print(text, soft_wrap=True, end=end)

    def replace(self, text: Text) -> None:
        """Show a text in place of the last one; not on a terminal: behind it, with an empty line between."""
        if self._console.is_terminal:
            self._console.clear()
            self.show(text)
        else:
            self.show(text)
            self._console.print()

    def note(self, line: str) -> None:
        """Print a line on standard error."""
        print(line, file=self._err, flush=True)
