"""Asks the next endpoint when one has failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent_runtime.llm.client import (
    BudgetExceeded,
    DeadlineExceeded,
    EndpointFailed,
    EndpointRefused,
    ModelError,
    ModelUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runtime.llm.client import ModelAnswer, ModelClient, ModelRequest


@dataclass(frozen=True, slots=True)
class Link:
    """One endpoint of the chain; `price` orders endpoints by what they cost, whatever its unit."""

    model: str
    client: ModelClient
    price: float = float("inf")


class FallbackClient:
    """Tries endpoints in order; `hook` is told the model that was given up and the one that is asked next.

    A call that does not fit a budget ends the run, or with `downgrade` goes on with the cheapest endpoint that is left.
    """

    def __init__(
        self, links: Sequence[Link], hook: Callable[[str, str], None], downgrade: Callable[[], bool] = lambda: False
    ) -> None:
        self._links = tuple(links)
        self._hook = hook
        self._downgrade = downgrade

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request.

        Raises
        ------
        ModelUnavailable
            If no endpoint answered.
        BudgetExceeded
            If the call does not fit, and no cheaper endpoint was to be tried or fitted.
        DeadlineExceeded
            Once time is over.
        """
        left, failures, shut = list(self._links), list[ModelError](), list[tuple[float, Link]]()
        while left:
            link = left.pop(0)
            try:
                answer = await link.client.complete(request)
            except EndpointFailed as failure:
                failures.append(failure)
            except EndpointRefused as refusal:
                failures.append(refusal)
                if refusal.retry_after is not None:
                    shut.append((refusal.retry_after, link))
            except BudgetExceeded as exceeded:
                if not self._downgrade():
                    raise
                failures.append(exceeded)
                left.sort(key=lambda other: other.price)
            else:
                request.run.fell_back |= bool(failures)
                return answer
            if asyncio.get_running_loop().time() >= request.deadline:
                raise DeadlineExceeded("; ".join(map(str, failures)))
            if left:
                self._hook(link.model, left[0].model)
        return await self._last_resort(request, failures, shut)

    async def _last_resort(
        self, request: ModelRequest, failures: list[ModelError], shut: list[tuple[float, Link]]
    ) -> ModelAnswer:
        """With every breaker open, ask the endpoint that recovers first: a probe costs less than a sure failure."""
        exceeded = [failure for failure in failures if isinstance(failure, BudgetExceeded)]
        if exceeded:
            raise exceeded[-1]
        if len(shut) < len(self._links):
            raise ModelUnavailable(tuple(failures))
        soonest = min(shut, key=lambda entry: entry[0])[1]
        try:
            return await soonest.client.complete(replace(request, forced=True))
        except (EndpointFailed, EndpointRefused) as failure:
            raise ModelUnavailable((*failures, failure)) from None
