"""What a client's going away counts as."""

from __future__ import annotations

import pytest

from agent_api.conversation import ConversationId
from agent_api.observations import Outcome
from agent_runtime.core.conversations import Turn
from agent_runtime.record import ABANDONED_SECONDS, RunRecord


@pytest.mark.parametrize(
    ("seconds", "opened", "outcome", "reason"),
    [
        (ABANDONED_SECONDS - 0.1, False, Outcome.EXCLUDED, "client-gone"),
        (ABANDONED_SECONDS, False, Outcome.ERROR, "abandoned"),
        (ABANDONED_SECONDS, True, Outcome.EXCLUDED, "client-gone"),
    ],
    ids=["changed his mind", "waited in vain", "left in mid-answer"],
)
def test_who_leaves_after_waiting_in_vain_was_failed(seconds, opened, outcome, reason):
    record = RunRecord(Turn(ConversationId("support-5c9f0a1b2d", 0, "abcdefgh"), first=True), 1, 0.0)
    record.client_left(seconds, opened=opened)
    assert (record.outcome, record.reason, record.facts.left) == (outcome, reason, True)
