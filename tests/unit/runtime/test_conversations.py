"""Which conversation a run belongs to."""

from __future__ import annotations

import pytest

from agent_api.conversation import ConversationId, marked_token, parse_conversation_id
from agent_api.observations import conversation_hash, user_unit
from agent_api.placement import Placement
from agent_runtime.core.conversation_ids import ConversationIds
from agent_runtime.core.conversations import EvidenceUnit, Fresh, Turn, epoch_of, placement_of, turn_of, unit_of

OURS = "support-5c9f0a1b2d"
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
IDS = ConversationIds(OURS, (KEY,))
RANDOM = bytes(range(12))


def fresh(placement=Placement.SPLIT, epoch=7, random=RANDOM):
    return Fresh(epoch, placement, random)


def begun(placement=Placement.SPLIT, ids=IDS, epoch=7):
    """A conversation that a gateway placed so."""
    return turn_of(ids, None, "ann", fresh(placement, epoch)).conversation


def test_own_conversation_is_continued_in_its_own_epoch():
    minted = begun(epoch=3)
    assert turn_of(IDS, str(minted), "ann", fresh(epoch=9)) == Turn(minted, first=False)


@pytest.mark.parametrize("offered", [None, ""])
def test_without_an_id_a_conversation_begins_in_the_epoch_of_the_request(offered):
    turn = turn_of(IDS, offered, "ann", fresh())
    assert (turn.first, turn.conversation.revision, turn.conversation.epoch) == (True, OURS, 7)


def test_minted_id_is_one_that_the_contract_reads_back():
    assert parse_conversation_id(str(begun())) == begun()


def test_two_conversations_have_two_ids():
    assert begun() != turn_of(IDS, None, "ann", fresh(random=bytes(12))).conversation


def forged():
    minted = begun()
    marked, code = minted.token[:17], minted.token[17:]
    other = "A" if code[0] != "A" else "B"
    return {
        "own": "session-4711",
        "garbage": "\x00 ...",
        "without a code": f"{OURS}.7.{marked}",
        "of before the code": f"{OURS}.7.abcdefghijklmnop",
        "made up": f"{OURS}.7.aaaaaaaa",
        "of another epoch": f"{OURS}.8.{minted.token}",
        "of another mark": f"{OURS}.7.{marked[:16]}w{code}",
        "of another code": f"{OURS}.7.{marked}{other}{code[1:]}",
        "longer": f"{minted}A",
        "shorter": str(minted)[:-1],
        "of another revision": str(begun(ids=ConversationIds("support-77aa01e4c3", (KEY,)))),
        "of another key": str(begun(ids=ConversationIds(OURS, (OTHER_KEY,)))),
        "too long": "a" * 5000,
    }


@pytest.mark.parametrize("offered", forged().values(), ids=forged())
def test_id_that_this_revision_did_not_mint_is_foreign_and_one_conversation(offered):
    turn, again = (turn_of(IDS, offered, "ann", fresh(random=bytes([n] * 12))) for n in range(2))
    assert turn == again
    assert not turn.first
    assert str(turn.conversation) != offered
    assert turn.conversation.split is None
    assert unit_of(turn.conversation, "ann") is None


def test_foreign_id_is_another_conversation_for_another_user_id_revision_and_key():
    named = {
        str(turn_of(ids, offered, user, fresh()).conversation)
        for ids in (IDS, ConversationIds("support-77aa01e4c3", (KEY,)), ConversationIds(OURS, (OTHER_KEY,)))
        for user in ("ann", "bob")
        for offered in ("one", "two")
    }
    assert len(named) == 12


def test_what_a_foreign_id_stands_for_can_be_sent_instead_of_it():
    turn = turn_of(IDS, "session-4711", "ann", fresh())
    assert turn_of(IDS, str(turn.conversation), "ann", fresh()) == turn


def test_ids_of_an_earlier_key_are_known_and_new_ones_have_the_new_key():
    ids = ConversationIds(OURS, (KEY,))
    old = begun(ids=ids)
    ids.use((OTHER_KEY, KEY))
    assert ids.continued(str(old)) == old
    assert ConversationIds(OURS, (OTHER_KEY,)).continued(str(begun(ids=ids))) is not None
    ids.use((OTHER_KEY,))
    assert ids.continued(str(old)) is None


def test_without_a_key_nothing_is_minted():
    with pytest.raises(ValueError, match="without a key"):
        IDS.use(())


@pytest.mark.parametrize(
    ("header", "epoch"),
    [(None, 0), ("", 0), ("12", 12), ("-1", 0), ("1.5", 0), ("x", 0), ("1234567890", 0), ("٣", 0), ("²", 0)],
)
def test_epoch_of_the_request_is_read_or_zero(header, epoch):
    assert epoch_of(header) == epoch


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
    assert turn_of(IDS, str(minted), "ann", fresh(Placement.WHOLE)).conversation.split is split


def test_id_of_before_the_mark_says_nothing():
    assert ConversationId(OURS, 3, "AbCd_-0123456789").split is None


@pytest.mark.parametrize("random", ["", "a" * 15, "a" * 17])
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
