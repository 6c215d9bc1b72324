"""Puts a bound on the calls of a source at the same time, a limit in time and a breaker around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent_runtime.slots import take_slot
from agent_runtime.tools.breaker import SourceBreaker
from agent_runtime.tools.source import SourceTimeout, SourceUnavailable, ToolFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runtime.tools.source import Tool, ToolSource

_GRACE_SECONDS = 1.0
"""How much longer than its limit a source may take to say that it is over."""


class GuardedSource:
    """A source that is called by many runs."""

    def __init__(self, inner: ToolSource, max_concurrent: int, breaker: SourceBreaker | None = None) -> None:
        self._inner = inner
        self._slots = asyncio.Semaphore(max_concurrent)
        self._breaker = breaker or SourceBreaker()

    @property
    def name(self) -> str:
        """Prefix of its tools."""
        return self._inner.name

    @property
    def listed(self) -> bool:
        """Whether its tools are known and it can be asked now."""
        return self._inner.listed

    def is_away(self, now: float) -> bool:
        """Whether it cannot be used: not connected, or resting after failures."""
        return not self._inner.listed or self._breaker.is_open(now)

    def tools(self) -> tuple[Tool, ...]:
        """Tools of the last listing."""
        return self._inner.tools()

    async def run(self) -> None:
        """Own everything that the source needs, until cancelled."""
        await self._inner.run()

    async def call(self, tool: str, arguments: Mapping[str, Any], trace: Mapping[str, str], seconds: float) -> str:
        """Call the source; raises SourceError. Waiting for a free slot is part of the time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            await take_slot(self._slots, seconds)
        except TimeoutError:
            raise SourceUnavailable("too many calls of this source are waiting") from None
        try:
            if not self._breaker.admit(loop.time()):
                raise SourceUnavailable("the source failed again and again and is left alone for a while")
            return await self._watched(tool, arguments, trace, max(end - loop.time(), 0.001))
        finally:
            self._slots.release()

    async def _watched(self, tool: str, arguments: Mapping[str, Any], trace: Mapping[str, str], seconds: float) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                text = await self._inner.call(tool, arguments, trace, seconds)
        except ToolFailed:
            self._breaker.succeeded()
            raise
        except (SourceUnavailable, SourceTimeout):
            self._breaker.failed(loop.time())
            raise
        except TimeoutError:
            self._breaker.failed(loop.time())
            raise SourceTimeout(f"no answer within {seconds:.0f} s") from None
        except Exception as error:
            self._breaker.failed(loop.time())
            raise SourceUnavailable(f"the call ended with {type(error).__name__}") from error
        except BaseException:
            self._breaker.gave_up()
            raise
        self._breaker.succeeded()
        return text
