"""Which conversation a run belongs to."""

from __future__ import annotations

import pytest

from agent_api.conversation import ConversationId, parse_conversation_id
from agent_runtime.core.conversations import Turn, epoch_of, turn_of

OURS = "support-5c9f0a1b2d"
TOKEN = "AbCd_-0123456789"


def test_own_conversation_is_continued_in_its_own_epoch():
    assert turn_of(f"{OURS}.3.abcdefgh", OURS, 7, TOKEN) == Turn(ConversationId(OURS, 3, "abcdefgh"), first=False)


@pytest.mark.parametrize(
    "offered",
    [
        None,
        "",
        "garbage",
        "support-77aa01e4c3.3.abcdefgh",
        f"{OURS}.x.abcdefgh",
        f"{OURS}.3.abc",
        f"{OURS}.3." + "a" * 500,
    ],
)
def test_anything_else_begins_a_conversation_in_the_epoch_of_the_request(offered):
    assert turn_of(offered, OURS, 7, TOKEN) == Turn(ConversationId(OURS, 7, TOKEN), first=True)


def test_minted_id_is_one_that_the_contract_reads_back():
    minted = turn_of(None, OURS, 7, TOKEN).conversation
    assert parse_conversation_id(str(minted)) == minted


@pytest.mark.parametrize(
    ("header", "epoch"),
    [(None, 0), ("", 0), ("12", 12), ("-1", 0), ("1.5", 0), ("x", 0), ("1234567890", 0), ("٣", 0), ("²", 0)],
)
def test_epoch_of_the_request_is_read_or_zero(header, epoch):
    assert epoch_of(header) == epoch
