"""What the operator does about money, with its own decisions and a faster clock: polls a pod, records, and seeds."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from agent_api.live_document import LedgerDocument
from agent_api.report import RuntimeReport, SpendReport
from agent_api.v1alpha1.status import Spend
from agent_operator.core.facts import Reported
from agent_operator.core.spending import Occasion, next_spending
from tests.support.budget_chaos import Chaos

POLL_SECONDS = 10.0


class StandInOperator:
    """Looks after the ledger of pods; its minutes are `pace` times as short, and pods read what it writes late."""

    def __init__(self, chaos: Chaos, pace: float = 30, late_seconds: float = 1) -> None:
        self.told: Spend | None = None
        self.ledger = LedgerDocument()
        self.seeds = 0
        self.delivers = asyncio.Event()
        """While it is not set, what the operator writes reaches no pod."""

        self.delivers.set()
        self._chaos = chaos
        self._pace = pace
        self._late_seconds = late_seconds
        self._last_spend: SpendReport | None = None
        self._states: tuple[bool, bool] | None = None
        self._began = datetime.now(UTC), time.monotonic()
        self._nonces = (f"seed-{number}" for number in itertools.count())
        self._recent: deque[RuntimeReport] = deque(maxlen=3)

    def restart(self) -> None:
        """Forget all that is not written down."""
        self._last_spend, self._states = None, None
        self._recent.clear()

    async def has_seeded(self) -> bool:
        """Whether it ever found the ledger lost."""
        return self.seeds > 0

    async def run(self) -> None:
        """Look after it until cancelled."""
        async with asyncio.TaskGroup() as deliveries:
            while True:
                before = self.ledger
                await self._look()
                if self.ledger != before:
                    deliveries.create_task(self._deliver(self.ledger))
                await asyncio.sleep(POLL_SECONDS / self._pace)

    async def _look(self) -> None:
        try:
            report = RuntimeReport.model_validate(await self._chaos.report())
        except ValidationError:
            return
        self._recent.append(report)
        self._last_spend = report.spend or self._last_spend
        states = report.ledger_lost, report.budget_exhausted
        occasion = Occasion(
            daily_micro=self._chaos.daily_micro,
            changed=self._states not in {None, states},
            nonce=next(self._nonces),
            now=self._now(),
        )
        self._states = states
        decided = next_spending(
            self.told, self.ledger, Reported((report,), tuple(self._recent), self._last_spend), occasion
        )
        self.seeds += bool(decided.ledger.seed) and decided.ledger.seed != self.ledger.seed
        self.told, self.ledger = decided.told, decided.ledger

    async def _deliver(self, ledger: LedgerDocument) -> None:
        await asyncio.sleep(self._late_seconds)
        await self.delivers.wait()
        self._chaos.set_live(ledger=ledger.model_dump(mode="json", by_alias=True))

    def _now(self) -> datetime:
        wall, steady = self._began
        return wall + timedelta(seconds=self._pace * (time.monotonic() - steady))


@asynccontextmanager
async def running_operator(chaos: Chaos) -> AsyncIterator[StandInOperator]:
    """An operator for the length of a block."""
    operator = StandInOperator(chaos)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(operator.run())
        yield operator
        looking.cancel()
