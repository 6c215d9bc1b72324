"""The report: which requests and conversations count as what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.report import (
    Bar,
    Limits,
    Release,
    Story,
    WeightChange,
    bars,
    failed_by_model,
    failed_by_rollout,
    is_split,
    lived_through,
    make_report,
    percentile,
    table,
    unexplained,
)
from demo.traffic.records import Fault, Record

BAD = "support-bad0000000"
OLD = "support-old0000000"
NEW = "support-new0000000"
VERDICT = 100.0
STORY = Story(
    releases=(Release(OLD, "Healthy", 9.04), Release(NEW, "Promoted", 40.0), Release(BAD, "RolledBack", 20.0)),
    changes=(WeightChange(50.0, {OLD: 80, NEW: 20}),),
    bad_revision=BAD,
    verdict_time=VERDICT,
)


def record(**changes):
    fields = {
        "conversation": 1,
        "turn": 1,
        "turns": 5,
        "request_id": "r",
        "start": 10.0,
        "end": 10.1,
        "status": 200,
        "fault": Fault.NONE,
        "revision": OLD,
        "body_revision": OLD,
        "outcome": "ok",
        "sent_id": "",
        "received_id": f"{OLD}.1.token",
    }
    return Record(**{**fields, **changes})


def failed_run(**changes):
    return record(**{"status": 502, "body_revision": "", "outcome": "error", "revision": BAD, **changes})


def turns(*revisions, begin=10.0, step=10.0, ids=None):
    given = ids or [f"{revision}.1.token" for revision in revisions]
    sent = ["", *given[:-1]]
    return [
        record(
            turn=number,
            start=begin + step * (number - 1),
            end=begin + step * (number - 1) + 0.1,
            revision=revision,
            body_revision=revision,
            sent_id=sent[number - 1],
            received_id=given[number - 1],
        )
        for number, revision in enumerate(revisions, start=1)
    ]


@pytest.mark.parametrize("fault", [Fault.CONNECT, Fault.RESET, Fault.TRUNCATED, Fault.TIMEOUT])
def test_request_without_a_whole_answer_failed_by_the_rollout(fault):
    assert failed_by_rollout(record(fault=fault, status=0, outcome=""))


@pytest.mark.parametrize(
    ("status", "outcome", "by_rollout", "by_model"),
    [
        (200, "ok", False, False),
        (503, "", True, False),
        (502, "error", False, True),
        (504, "error", False, True),
        (400, "", False, False),
        (400, "excluded", False, False),
    ],
)
def test_outcome_header_tells_the_models_failures_from_the_gateways(status, outcome, by_rollout, by_model):
    answer = record(status=status, outcome=outcome)
    assert (failed_by_rollout(answer), failed_by_model(answer)) == (by_rollout, by_model)


@pytest.mark.parametrize(
    ("answer", "chosen", "expected"),
    [
        (record(), False, False),
        (record(), True, True),
        (failed_run(), True, False),
        (failed_run(), False, True),
        (record(status=400, outcome="excluded"), False, True),
        (record(status=404, outcome=""), False, True),
        (record(status=502, outcome="ok"), False, True),
        (record(body_revision=NEW), False, True),
        (record(fault=Fault.RESET, status=0), False, False),
    ],
)
def test_answer_is_unexplained_unless_the_models_choice_demands_it(answer, chosen, expected):
    assert unexplained(answer, lambda _revision, _request_id: chosen) is expected


def test_choice_is_asked_for_the_revision_and_request_that_were_answered():
    asked = []
    unexplained(record(request_id="x7"), lambda *question: bool(asked.append(question)))
    assert asked == [(OLD, "x7")]


def test_whole_conversation_around_a_change_lived_through_it():
    assert lived_through(turns(OLD, OLD, OLD, OLD, OLD), STORY.changes) is False
    assert lived_through(turns(OLD, OLD, OLD, OLD, OLD, step=12.0), STORY.changes) is True


def test_conversation_that_was_cut_short_does_not_count():
    assert not lived_through(turns(OLD, OLD, OLD, OLD, step=20.0), STORY.changes)
    cut = [replace(turn, turns=8) for turn in turns(OLD, OLD, OLD, OLD, OLD, step=20.0)]
    assert not lived_through(cut, STORY.changes)


@pytest.mark.parametrize(
    ("revisions", "begin", "split"),
    [
        ((OLD, OLD, OLD), 10.0, False),
        ((OLD, NEW), 10.0, True),
        ((NEW, OLD), 10.0, True),
        ((BAD, NEW), VERDICT - 5, False),
        ((BAD, NEW), VERDICT - 50, True),
        ((NEW, BAD), VERDICT + 5, True),
        ((BAD, NEW, OLD), VERDICT - 5, True),
    ],
)
def test_conversation_may_only_leave_the_revision_that_was_taken_back(revisions, begin, split):
    assert is_split(turns(*revisions, begin=begin), STORY) is split


def test_conversation_that_got_another_id_from_its_own_revision_is_split():
    assert is_split(turns(OLD, OLD, ids=[f"{OLD}.1.first", f"{OLD}.1.second"]), STORY)


def test_turn_without_an_answer_splits_nothing():
    conversation = turns(OLD, OLD, OLD)
    conversation[1] = replace(conversation[1], revision="", body_revision="", fault=Fault.RESET)
    conversation[2] = replace(conversation[2], sent_id=conversation[0].received_id)
    assert not is_split(conversation, STORY)


@pytest.mark.parametrize(
    ("starts", "to_zero"),
    [((), 0.0), ((VERDICT - 3,), 0.0), ((VERDICT - 3, VERDICT + 0.4), 0.4), ((VERDICT + 2,), 2.0)],
)
def test_time_to_zero_runs_from_the_verdict_to_the_last_request_that_the_bad_revision_got(starts, to_zero):
    answers = [failed_run(start=start, end=start + 0.25) for start in starts]
    report = make_report([record(), *answers], STORY, lambda revision, _id: revision == BAD)
    assert report["secondsToZero"] == to_zero
    assert report["badAnswers"] == len(starts)


def test_last_bad_answer_is_counted_from_its_end():
    report = make_report([failed_run(start=VERDICT - 0.1, end=VERDICT + 0.3)], STORY, lambda *_: True)
    assert report["lastBadAnswerSeconds"] == 0.3


def test_report_counts_requests_failures_and_conversations():
    records = [
        *turns(OLD, OLD, OLD, OLD, OLD, step=12.0),
        record(conversation=2, fault=Fault.CONNECT, status=0, revision="", outcome="", detail="refused"),
        failed_run(conversation=3, start=90.0),
        failed_run(conversation=4, start=91.0, outcome="ok", status=200),
    ]
    report = make_report(records, STORY, lambda revision, _id: revision == BAD)
    figures = ("requests", "failedByRollout", "failedByModel", "unexplained", "conversations", "conversationsSplit")
    assert [report[name] for name in figures] == [8, 1, 1, 1, 4, 0]
    assert report["conversationsThroughWeightChange"] == 1
    assert report["releases"][0] == {"revision": OLD, "outcome": "Healthy", "seconds": 9.0}
    assert report["faults"] == {"connect": 1}


def test_report_of_nothing_misses_its_bars():
    report = make_report([], STORY, lambda *_: False)
    assert {bar.name for bar in bars(report, Limits()) if not bar.met} == {
        "requests",
        "conversationsThroughWeightChange",
        "badAnswers",
        "toolCalls",
        "spentUSD",
    }


@pytest.mark.parametrize(
    ("figure", "good", "wrong"),
    [
        ("requests", 5000, 4999),
        ("failedByRollout", 0, 1),
        ("unexplained", 0, 1),
        ("conversationsSplit", 0, 1),
        ("conversationsThroughWeightChange", 300, 299),
        ("badAnswers", 1, 0),
        ("secondsToZero", 1.0, 1.001),
        ("toolCalls", 300, 299),
        ("spentUSD", 0.5, 0.0),
        ("uncountedUSD", 0.0, 0.000001),
    ],
)
def test_each_bar_is_missed_just_beyond_its_limit(figure, good, wrong):
    fair = {**make_report([], STORY, lambda *_: False), "requests": 6000, "badAnswers": 9}
    fair |= {"conversationsThroughWeightChange": 400, "toolCalls": 400, "spentUSD": 0.5}
    assert all(bar.met for bar in bars({**fair, figure: good}, Limits()))
    assert [bar.name for bar in bars({**fair, figure: wrong}, Limits()) if not bar.met] == [figure]


def test_report_counts_tool_calls_by_what_became_of_them():
    outcomes = ("ok ok", "failed", "timeout unavailable", "denied", "unknown_tool ok", "")
    report = make_report([record(tools=tools) for tools in outcomes], STORY, lambda *_: False)
    assert [report[name] for name in ("toolCalls", "toolFailures", "toolRefusals")] == [8, 3, 2]


def paid(end, cost, spent="", day="2026-11-25"):
    return record(start=end - 1, end=end, cost_usd=cost, spent_usd=spent, day=day)


@pytest.mark.parametrize(
    ("spent", "uncounted"),
    [
        ("0.000045", 0.0),
        ("0.00003", 0.0),
        ("0.000029", 0.000001),
    ],
)
def test_ledger_must_hold_what_was_answered_before_it_was_read(spent, uncounted):
    records = [paid(10, "0.00001", "0.00001"), paid(20, "0.00002", "0.00003"), paid(30, "0.000015", spent)]
    report = make_report([*records[::-1], record()], STORY, lambda *_: False)
    assert report["spentUSD"] == float(spent)
    assert report["costOfAnswersUSD"] == 0.000045
    assert report["uncountedUSD"] == uncounted


def test_answers_of_yesterday_are_not_missed_in_todays_ledger():
    records = [paid(10, "1", "1", "2026-11-24"), paid(20, "0.5", "0.5")]
    assert make_report(records, STORY, lambda *_: False)["uncountedUSD"] == 0.0


def test_missed_bar_names_itself_its_figure_and_its_limit():
    assert str(Bar("requests", 12, 5000, at_least=True)) == "requests is 12, must be >= 5000"


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.99, 4), (0.0, 1)])
def test_percentile_is_the_smallest_value_that_covers_the_share(share, value):
    assert percentile([1, 2, 3, 4], share) == value


def test_percentile_of_nothing_is_zero():
    assert percentile([], 0.5) == 0.0


def test_closing_table_marks_what_was_missed():
    lines = table(make_report([], STORY, lambda *_: False), Limits())
    assert any("requests " in line and "MISSED" in line for line in lines)
    assert any("failedByRollout" in line and line.endswith("ok") for line in lines)
    assert any(BAD in line and "RolledBack" in line for line in lines)
