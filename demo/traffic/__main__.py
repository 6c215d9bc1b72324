"""Entry point of the traffic pod: `python -m demo.traffic`."""

from __future__ import annotations

import os

from aiohttp import web

from demo.traffic.control import Control
from demo.traffic.records import Journal


def main() -> None:
    """Serve until a signal; AGENT_URL and PORT come from the environment."""
    control = Control(os.environ["AGENT_URL"], Journal())
    web.run_app(
        control.application(),
        host=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 - a pod serves its network
        port=int(os.environ.get("PORT", "8090")),
        print=None,
        access_log=None,
    )


if __name__ == "__main__":
    main()
