"""uvicorn, with a lame-duck time before it stops."""

from __future__ import annotations

import gc
import math
import signal
import time
from typing import TYPE_CHECKING

import structlog
import uvicorn

from agent_runtime.app import create_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from agent_runtime.process import ProcessContext
    from agent_runtime.settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Above the idle time of the gateway's connections, so that the gateway closes them and never meets a closing one."""

SHUTDOWN_MARGIN_SECONDS = 5.0
GC_THRESHOLDS = (20_000, 20, 50)
"""Objects, and collections of younger ones, between two collections of each age.

A run makes some thousand objects with hardly a cycle among them; with Python's 700 the collector takes 4 % of the CPU.
"""

_log = structlog.get_logger("agent_runtime")


class DrainingServer(uvicorn.Server):
    """Serves on a while after the first signal, unready, then finishes what runs; a second signal skips the wait.

    Ctrl-C while it finishes what runs ends that as well.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        context: ProcessContext,
        lame_duck_seconds: float,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._drain = context.drain
        self._lame_duck_seconds = lame_duck_seconds
        self._on_started = on_started
        self._stop_at = math.inf

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, and tell so."""
        await super().startup(sockets)
        # What is there by now stays: the collector need not look at it again and again.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        if self._on_started is not None:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of the base
        """Begin to drain; called by the signal."""
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self._stop_at = time.monotonic() + (0 if self._drain.begun else self._lame_duck_seconds)
        self._drain.begun = True

    async def on_tick(self, counter: int) -> bool:
        """Look ten times a second whether to stop."""
        if time.monotonic() >= self._stop_at and not self.should_exit:
            _log.info("stops accepting")
            self.should_exit = True
        return await super().on_tick(counter)


def serve(settings: Settings, context: ProcessContext, on_started: Callable[[], None] | None = None) -> None:
    """Serve until a signal ends it; `on_started` is called when the port is open."""
    config = uvicorn.Config(
        create_app(context),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(context.document.timeout_seconds + SHUTDOWN_MARGIN_SECONDS),
    )
    _log.info("starts", agent=context.document.agent, revision=context.document.revision, port=settings.port)
    DrainingServer(config, context, settings.lame_duck_seconds, on_started).run()
    _log.info("stopped")
