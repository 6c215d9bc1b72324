"""The page of results, and what is written for it to be made from."""

from __future__ import annotations

import json

import pytest

from benchmarks.outcome import Bar, Outcome, Run, read_outcomes, spread, write_outcome
from benchmarks.results import render_results

RUN = Run(commit="0123456789ab", machine="2 cores, 24 GB", date="2030-01-01 12:00 UTC")


def document(name="speed", value=0.5, *, limit=1.0, **figures):
    bars = {"p95Ms": {"value": value, "limit": limit, "ok": value <= limit}}
    run = {"commit": RUN.commit, "machine": RUN.machine, "date": RUN.date}
    return {"name": name, "figures": figures, "bars": bars, "run": run}


def row_of(page, start):
    return next(line for line in page.splitlines() if line.startswith(start))


def test_a_bar_that_is_met_says_so_with_commit_machine_and_date():
    page = render_results([document()], {})
    assert row_of(page, "| speed") == (
        "| speed | p95Ms | 0.5 | 1 | yes | 0123456789ab | 2 cores, 24 GB | 2030-01-01 12:00 UTC |"
    )


def test_a_bar_that_is_not_met_is_printed_as_such():
    page = render_results([document(value=1.25)], {})
    assert "| 1.25 | 1 | **not met** |" in row_of(page, "| speed")


def test_a_benchmark_without_a_bar_has_a_row_all_the_same():
    bare = {**document(), "bars": {}}
    assert row_of(render_results([bare], {}), "| speed").startswith("| speed | none | | | | 0123456789ab |")


def test_every_figure_stands_below_what_the_benchmark_measures():
    page = render_results([document(requests=3000.0, p50Ms=0.0426)], {"speed": "How fast it is."})
    about, requests, median = page.index("How fast it is."), page.index("| requests | 3,000 |"), page.index("| p50Ms")
    assert about < requests < median
    assert "| p50Ms | 0.043 |" in page


def test_benchmarks_keep_their_order():
    page = render_results([document("second"), document("first")], {})
    assert page.index("## second") < page.index("## first")


def test_an_outcome_is_written_with_name_figures_and_bars(tmp_path):
    outcome = Outcome("speed", {"load": 0.5}, {"p95Ms": Bar(2.0, 1.0)})
    written = json.loads(write_outcome(tmp_path / "new", outcome, RUN).read_text(encoding="utf-8"))
    assert written["name"] == "speed"
    assert written["figures"] == {"load": 0.5}
    assert written["bars"] == {"p95Ms": {"value": 2.0, "limit": 1.0, "ok": False}}
    assert written["run"]["commit"] == RUN.commit


def test_outcomes_come_back_in_the_order_asked_for_without_those_that_never_ran(tmp_path):
    for name in ("a", "b"):
        write_outcome(tmp_path, Outcome(name, {}, {}), RUN)
    assert [found["name"] for found in read_outcomes(tmp_path, ("b", "missing", "a"))] == ["b", "a"]


@pytest.mark.parametrize(("value", "met"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_bar_is_met_up_to_its_limit(value, met):
    assert Outcome("speed", {}, {"p95Ms": Bar(value, 1.0)}).met is met


def test_a_spread_is_in_milliseconds_and_needs_no_order():
    figures = spread("write", [0.003, 0.001, 0.002, 0.1])
    assert figures == {"writeP50Ms": 2.0, "writeP95Ms": 100.0, "writeMaxMs": 100.0}
