"""What a real shell does with a command, seen by stand-ins for the programs that it starts.

The shell is restricted (no program by its path, no redirection, no `exec`), finds only the stand-ins and starts in an
empty folder with an empty environment: what it should never have been given cannot do much there.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 5
_BUILTINS = "echo printf test [ pwd true false kill"
_RECORD = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\001'; } >> "${0%/*}/../started"
"""


@dataclass(frozen=True, slots=True)
class FakeShell:
    """A folder with stand-ins for these programs, which write down how they were started."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, programs: list[str]) -> FakeShell:
        """Make the stand-ins."""
        (folder / "bin").mkdir()
        (folder / "empty").mkdir()
        for program in programs:
            stand_in = folder / "bin" / program
            stand_in.write_text(_RECORD)
            stand_in.chmod(0o755)
        return cls(folder)

    def started_by(self, command: str) -> list[tuple[str, ...]]:
        """The argument vectors of all programs that Bash starts for a command, in order."""
        shell = ["bash", "--norc", "--noprofile", "-r", "-c", f"enable -n {_BUILTINS}\n{command}"]
        return self._started(shell)

    def started_by_posix(self, command: str) -> list[tuple[str, ...]]:
        """The same of dash, which cannot be restricted: only for what Bash has shown to be one plain command."""
        return self._started(["dash", "-c", command])

    def _started(self, shell: list[str]) -> list[tuple[str, ...]]:
        record = self.folder / "started"
        record.unlink(missing_ok=True)
        environment = {"PATH": str(self.folder / "bin"), "HOME": "/home/agent", "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [f"/bin/{shell[0]}", *shell[1:]],
            cwd=self.folder / "empty",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        text = record.read_bytes().decode() if record.exists() else ""
        return [tuple(call.split("\0")[:-1]) for call in text.split("\1")[:-1]]
