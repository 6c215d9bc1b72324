"""Changes of a route: each leaves nothing behind of what was before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.route import Drain, JwtRule, Rejection, Role, RolloutLedger
from agent_operator.core import judging, routing
from agent_operator.core.facts import Knobs
from tests.support.scene import START, Scene, pause, rolling, rollout_of, stable_route, weight

LATER = START + timedelta(minutes=5)
BAD = Rejection(revision="v2", reason="CrashLoop", message="m", time=LATER)


def test_a_misspelt_field_of_the_ledger_is_refused_by_name():
    with pytest.raises(TypeError, match="RolloutLedger has no field stepindex"):
        routing.edit_ledger(stable_route(), stepindex=7)


def test_the_fields_that_can_be_edited_are_those_of_the_ledger():
    assert routing.LedgerChanges.__annotations__.keys() == RolloutLedger.model_fields.keys()


def in_mid_rollout():
    scene = rolling(plan=rollout_of(weight(10), pause(), weight(50))).serve(canary=(5, 1), stable=(5, 0)).run()
    return routing.edit_ledger(scene.route, progress_at=START, progress_ready=1, promote_full=True)


def test_a_route_taken_back_has_the_ledger_it_had_before_but_for_what_went_wrong():
    route = in_mid_rollout()
    assert route.rollout.analysis is not None
    after = routing.withdraw(route, BAD).rollout
    expected = stable_route().rollout.model_copy(
        update={"rejected": BAD, "last_rollback": BAD, "steps_hash": route.rollout.steps_hash}
    )
    assert after == expected


def test_a_promoted_route_has_the_ledger_of_one_at_rest():
    route = routing.edit_ledger(in_mid_rollout(), stable_available=False)
    after = routing.promote(route, 60, 5, LATER).rollout
    expected = stable_route("v2", history=("v2", "v1")).rollout.model_copy(
        update={
            "steps_hash": route.rollout.steps_hash,
            "draining": (Drain(revision="v1", until=LATER + timedelta(seconds=60)),),
        }
    )
    assert after == expected


def test_a_rollout_begins_with_nothing_of_one_before():
    dirty = routing.edit_ledger(
        stable_route(),
        step_index=3,
        step_since=START,
        progress_ready=2,
        promote_full=True,
        analysis=judging.first_ledger(stable_route(), Scene().seen(), START),
    )
    after = routing.begin(dirty, "v2", "hash", LATER, promote_full=False).rollout
    expected = stable_route().rollout.model_copy(
        update={"steps_hash": "hash", "started_at": LATER, "progress_at": LATER}
    )
    assert after == expected


def test_a_new_weight_begins_its_step_anew_and_keeps_the_rest():
    route = routing.edit_ledger(in_mid_rollout(), step_since=START)
    after = routing.weigh(route, 30, LATER)
    assert after.rollout == route.rollout.model_copy(update={"step_since": None})
    assert [entry.weight for entry in after.revisions] == [70, 30]
    assert (after.lease.counter, after.lease.bumped_at) == (route.lease.counter + 1, LATER)


def test_a_first_revision_is_replaced_with_a_new_clock_and_no_rejection():
    route = routing.edit_ledger(routing.first_route(10000, "v1", START), progress_ready=1, rejected=BAD)
    after = routing.replace_first(route, "v2", LATER)
    assert after.rollout == route.rollout.model_copy(
        update={"progress_at": LATER, "progress_ready": 0, "rejected": None}
    )


def test_a_newer_rejection_takes_the_place_of_an_older_one():
    older = Rejection(revision="v0", reason="Aborted", message="", time=START)
    route = routing.edit_ledger(in_mid_rollout(), rejected=older)
    assert routing.withdraw(route, BAD).rollout.rejected == BAD


def test_knobs_that_did_not_change_are_no_change():
    route = stable_route()
    assert routing.set_knobs(route, Knobs()) is route
    rule = JwtRule(issuer="https://issuer", audiences=("a",), jwks="{}")
    for knobs in (
        Knobs(suspended=True),
        Knobs(stickiness=Stickiness.USER),
        Knobs(description="answers"),
        Knobs(jwt=rule),
        Knobs(api_keys=True),
    ):
        changed = routing.set_knobs(route, knobs)
        assert (changed.serial, routing.knobs_of(changed)) == (2, knobs)
        assert routing.set_knobs(changed, knobs) is changed


def test_only_a_rollout_can_be_promoted():
    with pytest.raises(ValueError, match=r"^only a route with a stable revision and a canary can be promoted$"):
        routing.promote(stable_route(), 60, 5, LATER)


def test_drains_end_each_at_its_time():
    drains = (Drain(revision="a", until=START), Drain(revision="b", until=LATER))
    revisions = (*stable_route().revisions, *(routing._entry(name, Role.DRAINING, 0) for name in "ab"))
    route = routing.edit_ledger(stable_route().model_copy(update={"revisions": revisions}), draining=drains)
    assert routing.end_drains(route, START - timedelta(seconds=1)) is route
    after = routing.end_drains(route, START)
    assert [entry.name for entry in after.revisions] == ["v1", "b"]
    assert (after.rollout.draining, after.serial) == (drains[1:], route.serial + 1)


def test_roles_and_weights_are_found():
    route = in_mid_rollout()
    assert (routing.name_of(route, Role.STABLE), routing.name_of(route, Role.CANARY)) == ("v1", "v2")
    assert routing.name_of(route, Role.DRAINING) is None
    assert (routing.canary_weight(route), routing.canary_weight(stable_route())) == (10, 0)
