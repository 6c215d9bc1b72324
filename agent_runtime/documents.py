"""The document that answers a run, with what it cost and what to do as limits come near."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_api.quantities import dollars
from agent_runtime.core.advice import Costs, advise
from agent_runtime.llm.chain import price_rank
from agent_runtime.llm.client import LedgerUnavailable
from agent_runtime.routes.chat_wire import finish_reason
from agent_runtime.routes.wire import BudgetStanding, RunAnswer, ToolUseDocument

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.live_document import LiveDocument
    from agent_api.runtime_document import RuntimeDocument
    from agent_runtime.agent import Answer
    from agent_runtime.llm.client import Run
    from agent_runtime.money.ledger import SpendLedger
    from agent_runtime.money.pricing import ModelPrice
    from agent_runtime.record import RunRecord
    from agent_runtime.runs import Asker, RunDesk


def cost_of(record: RunRecord) -> str | None:
    """What a run cost, in decimal dollars; None while a price is not known."""
    if record.cached:
        return "0"
    return None if record.run is None or record.run.unpriced else dollars(record.run.spent_micro)


class AnswerDocuments:
    """Writes the documents of answers."""

    def __init__(
        self,
        document: RuntimeDocument,
        desk: RunDesk,
        prices: tuple[ModelPrice | None, ...],
        ledger: SpendLedger | None,
        live: Callable[[], LiveDocument],
    ) -> None:
        self._document = document
        self._desk = desk
        self._ranks = {e.model: price_rank(p) for e, p in zip(document.endpoints, prices, strict=True) if p is not None}
        self._ledger = ledger
        self._live = live

    async def of(self, answer: Answer, asker: Asker, record: RunRecord) -> RunAnswer:
        """Document of an answer."""
        run = record.run
        tokens = None if run is None else run.input_tokens + run.output_tokens
        elapsed = asyncio.get_running_loop().time() - record.begun
        return RunAnswer(
            answer=answer.text,
            finish_reason=finish_reason(answer),
            tool_calls=tuple(
                ToolUseDocument(name=use.name, outcome=use.outcome, milliseconds=use.milliseconds)
                for use in answer.uses
            ),
            tokens_used=0 if record.cached else tokens or None,
            cost_usd=cost_of(record),
            latency_ms=round(elapsed * 1000),
            request_id=asker.request_id,
            conversation_id=str(asker.turn.conversation),
            revision=self._document.revision,
            model=answer.model,
            cached=record.cached,
            budget=await self._standing(),
            advice=() if run is None or record.cached else advise(self._costs(answer, run)),
        )

    async def _standing(self) -> BudgetStanding | None:
        """Where the day stands; None where no day is limited, or the ledger cannot be read."""
        daily = self._live().budgets.daily_micro
        if self._ledger is None or daily is None:
            return None
        try:
            spend = await self._ledger.standing()
        except LedgerUnavailable:
            return None
        return BudgetStanding(
            day=spend.day,
            spent_today_usd=dollars(spend.spent_micro),
            remaining_today_usd=dollars(max(0, daily - spend.spent_micro)),
        )

    def _costs(self, answer: Answer, run: Run) -> Costs:
        budgets = self._live().budgets
        price = self._ranks.get(answer.model)
        cheapest = min(self._ranks.items(), key=lambda item: item[1], default=None)
        return Costs(
            spent_micro=None if run.unpriced else run.spent_micro,
            limit_micro=budgets.request_micro,
            tokens=run.input_tokens + run.output_tokens,
            token_limit=budgets.request_tokens,
            history_tokens=self._desk.history_tokens(answer),
            history_limit=self._document.conversations.max_tokens,
            iterations=answer.iterations,
            price=price,
            cheaper=None if cheapest is None or cheapest[0] == answer.model else cheapest,
        )
