"""Command line of the gateway image: the sidecar by default, `envoy` and `drain` for Envoy's container."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; answers the exit code."""
    parser = argparse.ArgumentParser(prog="agent_gateway", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("sidecar", "envoy", "drain"), default="sidecar")
    command = parser.parse_args(arguments).command
    if command == "envoy":
        return _envoy()
    return _drain() if command == "drain" else _sidecar()


def _sidecar() -> int:
    import structlog  # noqa: PLC0415 - the short commands start faster without it
    import uvloop  # noqa: PLC0415

    from agent_gateway.settings import Settings  # noqa: PLC0415
    from agent_gateway.sidecar import run_sidecar  # noqa: PLC0415

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ]
    )
    try:
        uvloop.run(run_sidecar(Settings()))
    except Exception:  # noqa: BLE001 - the end of the process: any death is logged and answered by exit code 1
        structlog.get_logger(__name__).exception("a part of the gateway died")
        return 1
    return 0


def _envoy() -> int:
    from agent_gateway.envoy.start import NoConfigurationError, become_envoy  # noqa: PLC0415
    from agent_gateway.settings import Settings  # noqa: PLC0415

    settings = Settings()
    try:
        become_envoy(settings.config_dir, settings.concurrency)
    except NoConfigurationError as error:
        sys.stderr.write(f"{error}\n")
    return 1


def _drain() -> int:
    from agent_gateway.drain import AdminEndpoint, drain  # noqa: PLC0415
    from agent_gateway.envoy.resources import DRAINING_FILE  # noqa: PLC0415
    from agent_gateway.settings import Settings  # noqa: PLC0415

    settings = Settings()
    drained = drain(
        AdminEndpoint(settings.admin_port),
        settings.config_dir / DRAINING_FILE,
        settings.drain_minimum_seconds,
        settings.drain_seconds,
    )
    if not drained:
        sys.stderr.write("requests were still running when the time was over\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
