"""Entry point: `python -m demo.model_server`."""

from __future__ import annotations

import os

from aiohttp import web

from demo.model_server.server import Behaviour, create_server


def main() -> None:
    """Serve until a signal; PORT, BAD_PERCENT and LATENCY_MS come from the environment."""
    behaviour = Behaviour(
        bad_percent=int(os.environ.get("BAD_PERCENT", "40")),
        latency_seconds=float(os.environ.get("LATENCY_MS", "20")) / 1000,
    )
    web.run_app(
        create_server(behaviour),
        host=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 - a pod serves its network
        port=int(os.environ.get("PORT", "8000")),
        print=None,
        access_log=None,
    )


if __name__ == "__main__":
    main()
