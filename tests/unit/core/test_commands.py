"""Verbs: what each does, when it is refused, and that none runs twice."""

from __future__ import annotations

import pytest

from agent_operator.core import commands, routing
from agent_operator.core.facts import Command
from tests.support.scene import Scene, analysis, analyze, healthy, pause, rolling, rollout_of, stable_route, weight

HELD = rollout_of(weight(10), pause(), weight(50), pause())


def released_twice(**facts):
    """v2 serves, v1 is the revision before it."""
    return Scene(
        route=stable_route("v2", history=("v2", "v1")),
        target="v2",
        health={"v1": healthy(), "v2": healthy()},
        ever_available={"v1", "v2"},
        **facts,
    )


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, None),
        ("", None),
        ("promote@1", Command("promote", "1")),
        ("promote-full@a.b_c-D", Command("promote-full", "a.b_c-D")),
        ("a" * 32 + "@" + "b" * 64, Command("a" * 32, "b" * 64)),
        ("a" * 33 + "@1", Command("", "a" * 33 + "@1")),
        ("promote", Command("", "promote")),
        ("promote@", Command("", "promote@")),
        ("Promote@1", Command("", "Promote@1")),
        ("promote@1 2", Command("", "promote@1 2")),
        ("-x@1", Command("", "-x@1")),
        ("abort@" + "b" * 65, Command("", ("abort@" + "b" * 65)[:64])),
    ],
)
def test_annotations_are_parsed(annotation, expected):
    assert commands.parse_command(annotation) == expected


def test_a_command_runs_once():
    scene = rolling(plan=HELD).types("promote").run()
    assert scene.index == 3
    scene.passes(60).run()
    assert scene.index == 3
    assert scene.reasons.count("CommandDone") == 1


def test_the_same_id_with_another_verb_is_another_command():
    scene = rolling(plan=HELD)
    scene.command = Command("promote", "x")
    scene.run()
    scene.command = Command("abort", "x")
    assert scene.run().canary is None


def test_the_same_verb_with_another_id_is_another_command():
    scene = rolling(plan=HELD)
    scene.command = Command("promote", "x")
    scene.run()
    scene.command = Command("promote", "y")
    assert scene.run().stable == "v2"


def test_an_annotation_taken_away_changes_nothing():
    scene = rolling(plan=HELD).types("promote").run()
    before = scene.route
    scene.command = None
    assert scene.run().route == before


def test_an_answer_says_verb_id_result_and_message():
    scene = rolling(plan=HELD).types("promote").run()
    answer = scene.route.rollout.command
    assert (answer.verb, answer.id, answer.result.value) == ("promote", "c0", "Done")
    assert answer.message == "step 2/4 of v2 is passed"
    note = next(note for note in scene.notes if note.reason == "CommandDone")
    assert (note.warning, note.message) == (False, "promote: step 2/4 of v2 is passed")


@pytest.mark.parametrize("verb", ["promote", "promote-full", "abort", "retry", "undo"])
def test_a_verb_that_makes_no_sense_is_refused_and_changes_no_routing(verb):
    scene = Scene().types(verb).run()
    result, message = scene.answer
    assert result == "Refused"
    assert message
    assert scene.route.model_copy(update={"rollout": stable_route().rollout}) == stable_route()
    assert [(note.warning, note.reason) for note in scene.notes] == [(True, "CommandRefused")]


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("promote", "nothing is being rolled out"),
        ("promote-full", "nothing is being rolled out"),
        ("abort", "nothing is being rolled out; undo goes back to the revision before"),
        ("retry", "no revision was taken back"),
        ("undo", "there is no revision before the present one"),
    ],
)
def test_a_refusal_says_why(verb, message):
    assert Scene().types(verb).run().answer == ("Refused", message)


@pytest.mark.parametrize("command", [Command("pause", "1"), Command("", "nonsense")])
def test_an_unknown_verb_is_refused_with_the_known_ones(command):
    scene = Scene(command=command).run()
    assert scene.answer == (
        "Refused",
        "not a command; write <verb>@<id>, where the verb is one of abort, promote, promote-full, retry, undo",
    )
    assert scene.notes[0].message.startswith(f"{command.verb or command.id}: not a command")


# promote


def test_promote_passes_a_timed_pause_too():
    scene = rolling(plan=rollout_of(weight(10), pause("1h"), weight(50), pause())).types("promote").run()
    assert scene.weight == 50


def test_promote_is_refused_at_a_step_that_does_not_wait_for_it():
    scene = rolling(plan=rollout_of(weight(10), analyze())).types("promote").run()
    assert scene.answer == (
        "Refused",
        "step 2/2 does not wait for a promotion; promote-full skips what remains",
    )
    assert scene.index == 1


def test_promote_is_refused_while_a_weight_is_being_reached():
    scene = Scene().asks("v2").is_starting("v2").run().types("promote").run()
    assert scene.answer[0] == "Refused"


def test_promote_passes_an_inconclusive_analysis():
    scene = rolling(plan=rollout_of(weight(10), analyze(), weight(50), analyze(), judged=analysis(max_duration="1m")))
    scene.serve(canary=(5, 0), stable=(5, 0)).run().passes(60).run().types("promote").run()
    assert (scene.index, scene.weight) == (3, 50)
    assert not scene.route.rollout.analysis.inconclusive


def test_promote_after_the_last_step_is_refused():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    scene.route = routing.edit_ledger(scene.route, step_index=2)
    scene.types("promote")
    assert scene.step().route.rollout.command.result.value == "Refused"


def test_promote_does_not_override_the_spec():
    scene = rolling(plan=HELD)
    scene.paused = True
    assert scene.types("promote").run().weight == 10


# promote-full


def test_promote_full_skips_the_steps_but_not_the_availability():
    scene = Scene(plan=HELD).asks("v2").is_starting("v2", ready=1).run().types("promote-full").run()
    assert scene.answer == ("Done", "v2 is promoted as soon as its pods are available")
    assert scene.canary == "v2"
    assert scene.is_ready("v2").run().stable == "v2"
    assert not scene.route.rollout.promote_full


def test_a_canary_that_fails_is_taken_back_in_spite_of_promote_full():
    scene = Scene(plan=HELD).asks("v2").is_starting("v2").run().types("promote-full").run()
    assert scene.is_broken("v2").run().rejected == "v2"
    assert not scene.route.rollout.promote_full


# abort and retry


def test_abort_takes_the_canary_back_and_remembers_it():
    scene = rolling(plan=HELD).types("abort").run()
    assert scene.answer == ("Done", "v2 is taken back; it is not tried again until the spec changes")
    assert (scene.canary, scene.weight, scene.stable, scene.rejected) == (None, 0, "v1", "v2")
    rejection = scene.route.rollout.rejected
    assert (rejection.reason, rejection.message, rejection.time) == ("Aborted", "aborted by command", scene.now)
    assert scene.passes(1000).run().canary is None


def test_abort_works_while_the_spec_is_paused_and_gateways_are_silent():
    scene = rolling(plan=HELD).gateways_are_silent()
    scene.paused = True
    assert scene.types("abort").run().canary is None


def test_retry_after_abort_begins_again():
    scene = rolling(plan=HELD).types("abort").run().types("retry").run()
    assert (scene.canary, scene.weight, scene.rejected, scene.route.epoch) == ("v2", 10, None, 2)


# undo


def test_undo_goes_back_without_steps_while_the_spec_asks_for_another():
    scene = released_twice(plan=HELD).types("undo").run()
    assert scene.answer == ("Done", "going back to v1; the spec still asks for v2")
    assert (scene.stable, scene.canary, scene.rejected, scene.draining) == ("v1", None, "v2", ["v2"])
    rejection = scene.route.rollout.rejected
    assert (rejection.reason, rejection.message) == ("Undone", "undone to v1 by command")
    assert scene.route.rollout.last_rollback == rejection
    assert scene.route.rollout.undo_to == "v1"
    assert scene.passes(10_000).run().stable == "v1"


def test_undo_waits_for_the_pods_of_the_revision_before():
    scene = released_twice(plan=HELD)
    scene.health["v1"] = healthy(0)
    scene.types("undo").run()
    assert (scene.stable, scene.canary, scene.weight) == ("v2", "v1", 0)
    assert scene.is_ready("v1").run().stable == "v1"


def test_undo_skips_steps_also_outside_the_rollback_window():
    scene = released_twice(plan=rollout_of(weight(10), pause(), rollbackWindow=0)).types("undo").run()
    assert scene.stable == "v1"


def test_a_new_spec_after_undo_is_rolled_out():
    scene = released_twice(plan=HELD).types("undo").run().asks("v3").is_ready("v3").run()
    assert (scene.stable, scene.canary, scene.rejected) == ("v1", "v3", None)
    assert scene.route.rollout.undo_to is None


def test_retry_after_undo_goes_to_what_the_spec_asks_for():
    scene = released_twice(plan=HELD).types("undo").run().types("retry").run()
    assert (scene.canary, scene.rejected, scene.route.rollout.undo_to) == ("v2", None, None)


def test_what_people_undid_needs_its_steps_when_it_is_tried_again():
    scene = released_twice(plan=HELD).types("undo").run()
    assert (scene.stable, scene.route.rollout.history) == ("v1", ("v1",))
    scene.types("retry").run()
    assert (scene.stable, scene.canary, scene.weight) == ("v1", "v2", 10)


def test_what_people_undid_needs_its_steps_also_after_another_was_tried():
    scene = released_twice(plan=HELD).types("undo").run()
    scene.asks("v3").is_ready("v3").run().types("abort").run()
    scene.asks("v2").run()
    assert (scene.stable, scene.canary, scene.weight) == ("v1", "v2", 10)


def test_what_people_undid_needs_its_steps_though_another_was_rejected_before():
    scene = released_twice(plan=HELD)
    scene.asks("v3").is_ready("v3").run().types("abort").run().types("undo").run()
    assert scene.stable == "v1"
    scene.asks("v2").run()
    assert (scene.canary, scene.weight) == ("v2", 10)


@pytest.mark.parametrize("again", ["retry", "asked for"])
def test_what_people_aborted_needs_its_steps_though_it_served_lately(again):
    scene = released_twice(plan=HELD)
    scene.asks("v1").is_starting("v1").run().types("abort").run().is_ready("v1")
    if again == "retry":
        scene.types("retry").run()
    else:
        scene.asks("v2").run().asks("v1").run()
    assert (scene.canary, scene.weight) == ("v1", 10)


def test_undo_is_refused_while_a_rollout_is_under_way():
    scene = rolling(plan=HELD).types("undo").run()
    assert scene.answer == ("Refused", "a rollout is under way; abort takes it back")
    assert scene.canary == "v2"


def test_undo_passes_over_revisions_whose_record_is_gone():
    scene = Scene(
        route=stable_route("v3", history=("v3", "v2", "v1")),
        target="v3",
        health={"v1": healthy(), "v3": healthy()},
        ever_available={"v1", "v3"},
    )
    assert scene.types("undo").run().stable == "v1"


def test_undo_never_goes_to_a_revision_that_was_taken_back():
    scene = released_twice(plan=HELD).asks("v1").is_broken("v1").run()
    assert (scene.stable, scene.rejected) == ("v2", "v1")
    scene.is_ready("v1").types("undo").run()
    assert scene.answer == ("Refused", "there is no revision before the present one")


def test_a_second_undo_does_not_serve_what_the_first_one_took_back():
    scene = released_twice(plan=HELD).types("undo").run().types("undo").run()
    assert scene.answer[0] == "Refused"
    assert scene.stable == "v1"


def test_an_undo_that_fails_leaves_the_present_revision_serving_and_healthy():
    scene = released_twice(plan=HELD)
    scene.is_broken("v1").types("undo").run()
    assert (scene.stable, scene.canary, scene.rejected) == ("v2", None, None)
    assert scene.route.rollout.last_rollback.revision == "v1"
    assert scene.route.rollout.undo_to is None


def test_an_undo_that_fails_does_not_bring_a_rejected_revision_back():
    scene = released_twice(plan=HELD).asks("v3").is_broken("v3").run()
    scene.is_broken("v1").types("undo").run()
    assert (scene.stable, scene.canary, scene.rejected) == ("v2", None, "v3")
    assert scene.is_ready("v3").passes(100).run().canary is None


def test_abort_of_an_undo_does_not_bring_a_rejected_revision_back():
    scene = released_twice(plan=HELD).asks("v3").is_broken("v3").run()
    scene.is_starting("v1").types("undo").run()
    assert scene.canary == "v1"
    scene.is_ready("v3").types("abort").run()
    assert (scene.stable, scene.canary, scene.rejected) == ("v2", None, "v3")


# When first seen.


def test_a_command_that_was_there_before_the_agent_is_not_run():
    route = commands.ignore_first(stable_route(), Command("undo", "old"))
    assert route.rollout.command.result.value == "Ignored"
    assert route.rollout.command.message == (
        "the command was already there when the agent was first seen; type it again if it is meant"
    )
    scene = Scene(route=route, command=Command("undo", "old")).run()
    assert scene.answer[0] == "Ignored"
    assert scene.notes == []


def test_without_a_command_there_is_nothing_to_ignore():
    assert commands.ignore_first(stable_route(), None) == stable_route()
