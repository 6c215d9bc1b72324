"""The agent: one run from the question to the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runtime.core.loop import opening_messages
from agent_runtime.llm.client import DeadlineExceeded, ModelRequest

if TYPE_CHECKING:
    from agent_runtime.llm.client import ModelAnswer, ModelClient


@dataclass(frozen=True, slots=True)
class Order:
    """One run; `deadline` is on the event loop's clock."""

    query: str
    request_id: str
    deadline: float


class Agent:
    """Runs one revision."""

    def __init__(self, instructions: str, model: ModelClient) -> None:
        self._instructions = instructions
        self._model = model

    async def run(self, order: Order) -> ModelAnswer:
        """Answer the question; raises ModelError."""
        request = ModelRequest(opening_messages(self._instructions, order.query), order.request_id, order.deadline)
        try:
            async with asyncio.timeout_at(order.deadline):
                return await self._model.complete(request)
        except TimeoutError:
            raise DeadlineExceeded("the run's time is over", attempts=0) from None
