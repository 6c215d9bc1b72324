"""Entry point: `python -m benchmarks [NAME...]`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    agent_run,
    create_latency,
    fleet,
    gateway_overhead,
    ledger,
    machine,
    memory,
    populations,
    route_latency,
    streams,
)
from benchmarks.outcome import Outcome, outcome_path, read_outcomes, write_outcome
from benchmarks.results import render_results
from demo.console import ROOT, Console
from demo.environment import Environment
from demo.errors import DemoError
from demo.settings import read_cluster_choice
from devcluster.errors import DevclusterError

FOLDER = ROOT / "build" / "bench"
MODULES = (populations, agent_run, ledger, streams, memory, gateway_overhead, route_latency, create_latency, fleet)
PLOTS = {agent_run.NAME: agent_run.plot}
ABOUT = {module.NAME: module.ABOUT for module in MODULES}


class Bench:
    """Runs benchmarks one after the other; those that need a cluster share one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Taken once, before images are built: a commit made meanwhile is not what was measured.
        self._run = machine.present_run()
        self._lab = functools.cache(lambda: Environment.bring_up(read_cluster_choice(), console))

    def measurements(self) -> dict[str, Callable[[], Outcome]]:
        """What can be measured, by name."""
        return {
            populations.NAME: populations.measure,
            agent_run.NAME: agent_run.measure,
            ledger.NAME: ledger.measure,
            streams.NAME: streams.measure,
            memory.NAME: memory.measure,
            gateway_overhead.NAME: gateway_overhead.measure,
            route_latency.NAME: lambda: route_latency.measure(self._lab()),
            create_latency.NAME: lambda: create_latency.measure(self._lab()),
            fleet.NAME: lambda: fleet.measure(self._lab()),
        }

    def run(self, names: Sequence[str]) -> int:
        """Run all of `names`, whatever becomes of each; 0 if all ran and met their bars."""
        met = [self._run_one(name) for name in names]
        self._write_results()
        return 0 if all(met) else 1

    def _run_one(self, name: str) -> bool:
        # An old file must not pass for the outcome of a run that failed.
        outcome_path(FOLDER, name).unlink(missing_ok=True)
        self._console.say(f"{name}: measuring")
        before = machine.load()
        try:
            with self._console.company(lambda: f"  {name}: still measuring"):
                outcome = self.measurements()[name]()
        except (DemoError, DevclusterError) as error:
            self._console.say(f"{name}: failed: {error}")
            return False
        figures = {**outcome.figures, "load": before, "loadAfter": machine.load()}
        path = write_outcome(FOLDER, replace(outcome, figures=figures), self._run)
        for bar, found in outcome.bars.items():
            verdict = "met" if found.met else "NOT MET"
            self._console.say(f"{name}: {bar} {found.value:g}, at most {found.limit:g}: {verdict}")
        self._console.say(f"{name}: written to {path.relative_to(ROOT)}")
        return outcome.met

    def _write_results(self) -> None:
        documents = read_outcomes(FOLDER, ABOUT)
        missing = ABOUT.keys() - {document["name"] for document in documents}
        if missing:
            self._console.say(f"benchmarks/results.md stays as it is: no outcome of {', '.join(sorted(missing))}")
            return
        for document in documents:
            if draw := PLOTS.get(document["name"]):
                plot_path(document["name"]).write_text(draw(document["figures"]), encoding="utf-8")
        pictures = {name: plot_path(name).name for name in PLOTS}
        machine.RESULTS.write_text(render_results(documents, ABOUT, pictures), encoding="utf-8")
        self._console.say("benchmarks/results.md written")


def plot_path(name: str) -> Path:
    """Where the picture of a benchmark is written, beside the page."""
    return machine.RESULTS.with_name(f"{name}.svg")


def main(words: Sequence[str]) -> int:
    """Run the named benchmarks, or all; 2 if a name is unknown."""
    console = Console()
    names = list(words) or list(ABOUT)
    unknown = [name for name in names if name not in ABOUT]
    if unknown:
        console.say(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ABOUT)}")
        return 2
    try:
        return Bench(console).run(names)
    except DemoError as error:
        console.say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        console.say("interrupted; the cluster is left as it is")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
