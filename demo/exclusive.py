"""One demo at a time on a cluster: two would take turns in removing each other's namespace."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.errors import DemoError


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold a name on this machine while the block runs.

    Raises:
        DemoError: another process holds it.
    """
    path = Path(tempfile.gettempdir()) / f"greylag-demo-{os.getuid()}-{name}.lock"
    with path.open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoError(f"another demo runs on cluster {name}") from error
        yield
