"""Which conversation a run belongs to."""

from __future__ import annotations

import pytest

from agent_api.conversation import ConversationId, marked_token, parse_conversation_id
from agent_api.observations import conversation_hash, user_unit
from agent_api.placement import Placement
from agent_runtime.core.conversations import EvidenceUnit, Turn, epoch_of, placement_of, turn_of, unit_of

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


def begun(placement):
    """A conversation that a gateway placed so."""
    return turn_of(None, OURS, 7, marked_token(TOKEN, placement)).conversation


@pytest.mark.parametrize(
    ("placement", "split"),
    [
        (Placement.SPLIT, Placement.SPLIT),
        (Placement.SPLIT_BY_USER, Placement.SPLIT_BY_USER),
        (Placement.WHOLE, None),
        (Placement.PINNED, None),
        (Placement.FOREIGN, None),
    ],
)
def test_id_says_for_as_long_as_it_is_used_how_its_conversation_was_placed(placement, split):
    minted = begun(placement)
    assert minted.split is split
    assert turn_of(str(minted), OURS, 9, "other").conversation.split is split


def test_id_of_before_the_mark_says_nothing():
    assert ConversationId(OURS, 3, TOKEN).split is None


@pytest.mark.parametrize("random", ["", TOKEN[1:], TOKEN + "a"])
def test_token_of_another_length_is_refused(random):
    with pytest.raises(ValueError, match="16 random characters"):
        marked_token(random, Placement.SPLIT)


def test_conversation_that_was_split_is_evidence_of_itself():
    minted = begun(Placement.SPLIT)
    assert unit_of(minted, "ann") == unit_of(minted, None) == EvidenceUnit(conversation_hash(str(minted)))


def test_conversation_split_by_user_is_evidence_of_the_user():
    minted = begun(Placement.SPLIT_BY_USER)
    assert unit_of(minted, "ann") == EvidenceUnit(user_unit("ann", 7), by_user=True)
    assert unit_of(minted, "ann") != unit_of(minted, "bob")


def test_users_whom_nobody_names_are_split_by_conversation():
    minted = begun(Placement.SPLIT_BY_USER)
    assert unit_of(minted, None) == EvidenceUnit(conversation_hash(str(minted)))


@pytest.mark.parametrize("placement", [Placement.WHOLE, Placement.FOREIGN, Placement.PINNED])
def test_what_no_chance_placed_is_evidence_of_nothing(placement):
    assert unit_of(begun(placement), "ann") is None


def test_user_is_another_unit_in_each_rollout():
    assert user_unit("ann", 7) != user_unit("ann", 8)


@pytest.mark.parametrize(
    ("header", "offered", "placement"),
    [
        *((placement.value, None, placement) for placement in Placement),
        ("split", "mine", Placement.SPLIT),
        (None, None, Placement.SPLIT),
        (None, "mine", Placement.FOREIGN),
        ("nonsense", None, Placement.SPLIT),
        ("nonsense", "mine", Placement.FOREIGN),
    ],
)
def test_placement_is_what_the_gateway_says_or_what_an_older_one_must_have_done(header, offered, placement):
    assert placement_of(header, offered) is placement
