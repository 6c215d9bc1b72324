"""Scaling in mid-rollout, and revisions that are tried again while they still drain."""

from __future__ import annotations

import pytest

from tests.support.scene import pause, rolling, rollout_of, weight

# Scaling in mid-rollout.


def test_a_healthy_canary_is_not_taken_back_for_pods_that_a_scale_up_asks_for():
    scene = rolling(plan=rollout_of(weight(10), pause(), progressDeadline="2m"))
    scene.replicas = 20
    scene.is_starting("v2", ready=2).run().passes(3600).run()
    assert scene.canary == "v2"
    assert scene.waiting == "v2: 2 of 20 pods are ready, since more were asked for"
    scene.is_ready("v2").run()
    assert scene.waiting.startswith("paused by its step")


def test_a_canary_that_loses_pods_that_it_had_is_taken_back_however_many_are_asked_for():
    scene = rolling(plan=rollout_of(weight(10), pause(), progressDeadline="2m"))
    scene.replicas = 20
    scene.is_starting("v2", ready=1).run()
    assert scene.passes(119).run().canary == "v2"
    assert scene.passes(1).run().rejected == "v2"


def test_what_a_canary_had_before_counts_for_this_rollout_alone():
    scene = rolling(plan=rollout_of(weight(10), pause(), progressDeadline="2m"))
    assert scene.route.rollout.available_at == 2
    scene.asks("v3").is_starting("v3").run()
    assert scene.route.rollout.available_at == 0


# Drained revisions that are asked for again.


def test_a_draining_revision_that_becomes_canary_again_keeps_its_old_conversations():
    scene = rolling(plan=rollout_of(rollbackWindow=0)).run()
    assert (scene.stable, scene.draining) == ("v2", ["v1"])
    scene.plan = rollout_of(weight(10), pause(), rollbackWindow=0)
    scene.asks("v1").run()
    entry = next(entry for entry in scene.route.revisions if entry.name == "v1")
    assert (scene.canary, scene.weight, entry.any_epoch) == ("v1", 10, True)


@pytest.mark.parametrize("asked", ["v2", "v3"])
def test_a_draining_revision_that_nobody_asks_for_any_more_drains_on(asked):
    scene = rolling(plan=rollout_of(rollbackWindow=0)).run()
    drain = scene.route.rollout.draining[0]
    scene.plan = rollout_of(weight(10), pause(), rollbackWindow=0)
    scene.asks("v1").run().asks(asked).is_ready(asked).run()
    assert scene.draining == ["v1"]
    assert scene.route.rollout.draining == (drain,)
    assert scene.route.rollout.canary_drain is None


def test_a_revision_that_does_not_drain_begins_with_conversations_of_its_epoch():
    entry = next(entry for entry in rolling().route.revisions if entry.name == "v2")
    assert not entry.any_epoch
