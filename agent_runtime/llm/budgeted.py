"""Pays for every attempt at one endpoint: the worst case is held before it, what it took is settled after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent_runtime.core.faults import FaultKind
from agent_runtime.core.money import WorstCase, worst_case_of
from agent_runtime.llm.client import EndpointFailed, EndpointRefused, LedgerUnavailable, ModelError, Usage
from agent_runtime.money.ledger import Hold, Payer, SpendLedger, is_limited

if TYPE_CHECKING:
    from agent_api.live_document import BudgetsDocument, LiveDocument
    from agent_api.runtime_document import EndpointDocument
    from agent_runtime.core.money import ModelPrice
    from agent_runtime.llm.client import ModelAnswer, ModelClient, ModelRequest, Run

LEASE_MARGIN_SECONDS = 30.0
"""How long after the longest possible call its hold may still be settled in time."""

_NEVER_BILLED = frozenset({FaultKind.CONNECTION, FaultKind.CREDENTIAL, FaultKind.REFUSED, FaultKind.RATE_LIMITED})


@dataclass(frozen=True, slots=True)
class Bill:
    """What an attempt took; the cost is None while no price is known."""

    micro: int | None
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Tokens in both directions."""
        return self.input_tokens + self.output_tokens


class BudgetedClient:
    """Asks one endpoint, if the budgets cover the most that the call can cost at this endpoint's price."""

    def __init__(
        self,
        endpoint: EndpointDocument,
        client: ModelClient,
        price: ModelPrice | None,
        ledger: SpendLedger | None,
        live: Callable[[], LiveDocument],
    ) -> None:
        self._endpoint = endpoint
        self._client = client
        self._price = price
        self._ledger = ledger
        self._live = live

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request, and count what that cost; so are failures and calls that nobody waits for any more.

        Raises
        ------
        BudgetExceeded
            If the worst case does not fit.
        LedgerUnavailable
            If money is limited and cannot be counted now.
        EndpointRefused
            If money is limited and the price is not known.
        ModelError
            As the endpoint's client does.
        """
        worst = worst_case_of(request, self._endpoint)
        most = None if self._price is None else self._price.worst_case(worst.input_tokens, worst.output_tokens)
        hold = await self._reserve(request, most, worst)
        request.run.produced_bytes = 0
        try:
            answer = await self._client.complete(request)
        except BaseException as error:
            # Whoever cancels has gone and waits for nothing; the settlement has a task of its own.
            await self._settle(request, hold, self._bill_of_failure(error, request.run, worst), wait=_is_failure(error))
            raise
        bill = self._bill_of_answer(answer, worst, most)
        await self._settle(request, hold, bill, wait=True)
        return replace(answer, cost_micro=bill.micro)

    async def _reserve(self, request: ModelRequest, most: int | None, worst: WorstCase) -> Hold | None:
        budgets = self._live().budgets
        limited = is_limited(budgets)
        if most is None:
            request.run.unpriced = True
            if limited:
                raise EndpointRefused(
                    self._endpoint.model,
                    "its price is not known, and spec.budgets limits money: set price (inputPerMillion,"
                    " outputPerMillion) for this model in spec.model or spec.fallback",
                )
        if not limited and budgets.request_tokens is None:
            return None
        if self._ledger is None:
            raise LedgerUnavailable("spec.budgets sets limits, and this process has no store to count in")
        try:
            return await self._ledger.reserve(_payer(request.run), most or 0, worst.total, self._lease(request))
        except LedgerUnavailable:
            if limited or _tokens_exceeded(budgets, request.run, worst):
                raise
            # Tokens alone are limited, and the run knows how many it took.
            return None

    def _lease(self, request: ModelRequest) -> float:
        left = request.deadline - asyncio.get_running_loop().time()
        return max(0.0, min(self._endpoint.total_seconds, left)) + LEASE_MARGIN_SECONDS

    async def _settle(self, request: ModelRequest, hold: Hold | None, bill: Bill, *, wait: bool) -> None:
        run, ledger = request.run, self._ledger
        payer = hold or (None if ledger is None or not bill.micro else ledger.unreserved(_payer(run)))
        run.spent_micro += bill.micro or 0
        run.tokens += bill.tokens
        if ledger is None or payer is None:
            return
        if wait:
            await ledger.settle(payer, bill.micro or 0, bill.tokens)
        else:
            ledger.settle_soon(payer, bill.micro or 0, bill.tokens)

    def _bill_of_answer(self, answer: ModelAnswer, worst: WorstCase, most: int | None) -> Bill:
        usage = answer.usage
        silent = usage is None or usage.input_tokens <= 0
        if usage is None or silent or (usage.output_tokens <= 0 and (answer.text or answer.tool_calls)):
            # No call takes no tokens: the provider did not count, so the worst case is taken for true.
            return Bill(most, worst.input_tokens, worst.output_tokens)
        cost = None if self._price is None else self._price.cost(usage)
        return Bill(cost, usage.input_tokens, usage.output_tokens)

    def _bill_of_failure(self, error: BaseException, run: Run, worst: WorstCase) -> Bill:
        produced = run.produced_bytes
        if isinstance(error, EndpointFailed):
            fault = error.fault
            billed = fault.status is None and fault.kind not in _NEVER_BILLED
            if not billed and not produced:
                return Bill(None if self._price is None else 0, 0, 0)
        # A provider bills what it read and wrote, whether or not somebody waited for the rest.
        taken = Usage(worst.input_tokens, min(produced, worst.output_tokens))
        cost = None if self._price is None else self._price.worst_case(taken.input_tokens, taken.output_tokens)
        return Bill(cost, taken.input_tokens, taken.output_tokens)


def _is_failure(error: BaseException) -> bool:
    return isinstance(error, ModelError)


def _payer(run: Run) -> Payer:
    return Payer(run.id or run.request_id, run.user, run.spent_micro, run.tokens)


def _tokens_exceeded(budgets: BudgetsDocument, run: Run, worst: WorstCase) -> bool:
    return budgets.request_tokens is not None and run.tokens + worst.total > budgets.request_tokens
