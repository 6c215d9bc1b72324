"""Asks one ready runtime pod of each revision what all of them share, every ten seconds, and says when it is news."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent_api.live_document import BudgetsDocument
from agent_api.report import RuntimeReport, SpendReport
from agent_operator.cluster.peers import Peer, Peers
from agent_operator.cluster.store import Key
from agent_operator.core.facts import Reported
from agent_operator.core.reports import is_news

POLL_SECONDS = 10.0
RECENT_SECONDS = 30.0
KEPT_SECONDS = 60.0
TICK_SECONDS = 1.0


@dataclass(slots=True)
class _Followed:
    """An agent whose pods are asked: whom, what they said and when (loop time, s), and what was told of it."""

    peers: Mapping[str, Peer]
    budgets: BudgetsDocument
    due: float = 0.0
    asked: bool = False
    answers: dict[str, tuple[float, RuntimeReport]] = field(default_factory=dict)
    recent: deque[tuple[float, RuntimeReport]] = field(default_factory=deque)
    last_spend: SpendReport | None = None
    told: Reported | None = None

    def take(self, answers: Mapping[str, RuntimeReport], now: float) -> None:
        """Take over what was answered; a pod that did not answer counts by its last word, for a while."""
        self.asked = True
        self.answers = {
            revision: known
            for revision, known in self.answers.items()
            if revision in self.peers and now - known[0] < KEPT_SECONDS
        }
        for revision, answer in answers.items():
            self.answers[revision] = (now, answer)
            self.recent.append((now, answer))
            self.last_spend = answer.spend or self.last_spend
        while self.recent and now - self.recent[0][0] > RECENT_SECONDS:
            self.recent.popleft()

    def reported(self) -> Reported | None:
        """What is known; None before the first round of questions."""
        if self.peers and not self.asked:
            return None
        latest = tuple(report for revision, (_, report) in sorted(self.answers.items()) if revision in self.peers)
        return Reported(latest, tuple(report for _, report in self.recent), self.last_spend)


def _now() -> float:
    return asyncio.get_running_loop().time()


class Reports:
    """Reports of the agents' pods; `changed` is told the key of each agent for which a decision may come out anew."""

    def __init__(self, peers: Peers, changed: Callable[[Key], None]) -> None:
        self._peers = peers
        self._changed = changed
        self._followed: dict[Key, _Followed] = {}

    def follow(self, key: Key, peers: Mapping[str, Peer], budgets: BudgetsDocument) -> Reported | None:
        """Ask these pods of an agent from now on, one a revision; returns what is known of them."""
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(dict(peers), budgets)
        if dict(peers).keys() - followed.peers.keys():
            followed.due = 0.0
        followed.peers, followed.budgets = dict(peers), budgets
        followed.told = followed.reported()
        return followed.told

    def forget(self, key: Key) -> None:
        """Ask no pod of an agent any more."""
        self._followed.pop(key, None)

    async def run(self) -> None:
        """Ask, until cancelled."""
        while True:
            await self.ask_due()
            await asyncio.sleep(TICK_SECONDS)

    async def ask_due(self) -> None:
        """Ask for every agent whose turn it is."""
        now = _now()
        due = [(key, followed) for key, followed in self._followed.items() if followed.peers and followed.due <= now]
        await asyncio.gather(*(self._ask(key, followed) for key, followed in due))

    async def _ask(self, key: Key, followed: _Followed) -> None:
        asked = dict(followed.peers)
        answers = await asyncio.gather(*(self._peers.report(peer) for peer in asked.values()))
        now = _now()
        followed.due = now + POLL_SECONDS
        said = {name: answer for name, answer in zip(asked, answers, strict=True) if answer is not None}
        followed.take(said, now)
        if is_news(followed.told, followed.reported(), followed.budgets):
            self._changed(key)
