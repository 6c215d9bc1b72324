"""Entry point: `python -m demo.tool_server`."""

from __future__ import annotations

import os

import uvicorn

from demo.tool_server.server import create_server


def main() -> None:
    """Serve until a signal; HOST and PORT come from the environment."""
    uvicorn.run(
        create_server(),
        host=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 - a pod serves its network
        port=int(os.environ.get("PORT", "8001")),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    main()
