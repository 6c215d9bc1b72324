"""The demo itself: an environment, traffic, three releases, the report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from demo.api import object_path
from demo.clients import Clients
from demo.console import ROOT, Console
from demo.environment import Environment
from demo.errors import DemoError
from demo.exclusive import exclusive
from demo.manifests import (
    AGENT,
    BAD_PERCENT,
    NAMESPACE,
    SIMULATED_PRICE,
    SIMULATED_URL,
    TRAFFIC,
    TRAFFIC_PORT,
    Version,
    make_agent,
    make_model_server,
    make_namespace,
    make_secret,
    make_tool_server,
    make_traffic,
    versions,
)
from demo.model_server.faults import fails
from demo.narrator import Narrator, promoted, taken_back, unix_time
from demo.prices import price_of
from demo.relay import relaying
from demo.report import Limits, Release, Story, bars, make_report, table
from demo.settings import ClusterChoice, Provider
from demo.traffic.script import Load
from devcluster.plan import DEFAULT_NAME

REPORT = ROOT / "build" / "demo" / "report.json"
# On two cores everything starts at the expense of what serves, unless that has the greater share.
VALUES: Mapping[str, Any] = {
    "operator": {"replicas": 2},
    "gateway": {"replicas": 2, "resources": {"requests": {"cpu": "150m"}}},
}
_HEALTHY_SECONDS = 180
_ROLLOUT_SECONDS = 300
_BASELINE_SECONDS = 12.0
_BETWEEN_SECONDS = 6.0
_AFTER_SECONDS = 10.0
_LAST_ANSWERS_SECONDS = 60
_POLL_SECONDS = 0.2
T = TypeVar("T")


class Show:
    """One demo."""

    def __init__(self, console: Console, choice: ClusterChoice, provider: Provider | None) -> None:
        self._console = console
        self._choice = choice
        self._provider = provider
        self._first, self._good, self._bad = versions(provider)
        self._base_url = SIMULATED_URL
        self._price = SIMULATED_PRICE if provider is None else price_of(provider)
        self._models: dict[str, tuple[str, ...]] = {}
        self._releases: list[Release] = []

    def run(self) -> int:
        """Run all of it; 0 if every bar is met.

        Raises:
            DemoError: something did not work at all.
        """
        with ExitStack() as stack:
            stack.enter_context(exclusive("current" if self._choice.current else self._choice.name))
            environment = Environment.bring_up(self._choice, self._console, VALUES)
            if self._provider is not None:
                self._base_url = stack.enter_context(self._way_out(environment, self._provider))
            return self._perform(environment)

    @contextmanager
    def _way_out(self, environment: Environment, provider: Provider) -> Iterator[str]:
        """Base URL by which pods reach the provider."""
        if self._choice.current:
            yield provider.base_url
            return
        self._console.say("the devcluster has no way out: calls to the provider are relayed until the demo ends")
        with relaying(provider.base_url, environment.devcluster.plan.host_address) as base_url:
            yield base_url

    def _perform(self, environment: Environment) -> int:
        self._prepare(environment)
        narrator = Narrator(environment.api, self._console, NAMESPACE, AGENT)
        clients = Clients(environment.api, NAMESPACE, TRAFFIC, TRAFFIC_PORT)
        with ExitStack() as stack:
            stack.enter_context(narrator.watching())
            stack.enter_context(self._console.company(lambda: self._describe(narrator, clients)))
            self._first_release(environment, narrator)
            stack.enter_context(clients.collecting())
            story = self._under_traffic(environment, narrator, clients)
        return self._close(environment, clients, story)

    def _prepare(self, environment: Environment) -> None:
        image = environment.images["modelserver"]
        environment.renew_namespace(make_namespace())
        if self._provider is not None:
            self._console.say(f"OPENAI_API_KEY is set: the agent calls {self._provider.base_url}")
            if self._price is None:
                self._console.say(f"no price of {self._provider.stable_model} is known there: budgets count tokens")
            environment.apply(make_secret(self._provider))
        else:
            environment.apply(*make_model_server(image))
        environment.apply(*make_tool_server(image), *make_traffic(image))

    def _describe(self, narrator: Narrator, clients: Clients) -> str:
        counted = f"; {len(clients.records)} requests, {clients.failures} failed" if clients.records else ""
        return f"{narrator.describe()}{counted}"

    def _release(self, environment: Environment, version: Version) -> int:
        """Apply a version and return the generation it makes."""
        names = " then ".join(version.models)
        self._console.say(f"RELEASE   {version.name}: kubectl apply AgentDeployment {AGENT}, model {names}")
        manifest = make_agent(version, self._provider, self._base_url, self._price)
        return int(environment.api.apply(object_path(manifest), manifest)["metadata"]["generation"])

    def _first_release(self, environment: Environment, narrator: Narrator) -> None:
        began = time.monotonic()
        generation = self._release(environment, self._first)
        stable = self._until("v1 Healthy", _HEALTHY_SECONDS, lambda: promoted(narrator.status, generation))
        self._ended(self._first, stable, "Healthy", began)
        traffic = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{TRAFFIC}"
        environment.api.await_that(
            "traffic pod ready",
            _HEALTHY_SECONDS,
            lambda: environment.api.get(traffic).get("status", {}).get("readyReplicas"),
        )

    def _ended(self, version: Version, revision: str, outcome: str, began: float) -> None:
        self._models[revision] = version.models
        seconds = time.monotonic() - began
        self._releases.append(Release(revision, outcome, seconds))
        self._console.say(f"RELEASE   {version.name} = {revision}: {outcome} after {seconds:.1f} s")

    def _under_traffic(self, environment: Environment, narrator: Narrator, clients: Clients) -> Story:
        load = (
            Load()
            if self._provider is None
            else Load(clients=8, conversations=3, think_min=2, think_max=4, slow_factor=1.5, spelled_out=False)
        )
        self._console.say(f"TRAFFIC   {load.clients} clients with {load.conversations} conversations each")
        clients.start(load)
        self._while_counting(clients, _BASELINE_SECONDS)
        began = time.monotonic()
        generation = self._release(environment, self._good)
        better = self._until(
            "v2 promoted", _ROLLOUT_SECONDS, lambda: self._promoted_v2(narrator.status, generation), clients
        )
        self._ended(self._good, better, "Promoted", began)
        self._while_counting(clients, _BETWEEN_SECONDS)
        verdict, revision = self._bad_release(environment, narrator, clients)
        self._while_counting(clients, _AFTER_SECONDS)
        self._until("enough requests", _ROLLOUT_SECONDS, lambda: self._enough(clients), clients)
        self._finish(clients)
        return Story(tuple(self._releases), tuple(narrator.changes), revision, verdict)

    def _promoted_v2(self, status: Mapping[str, Any], generation: int) -> str | None:
        if taken_back(status, generation) is not None:
            raise DemoError(f"v2 was taken back, though nothing is wrong with it: {status['lastRollback']['message']}")
        return promoted(status, generation)

    def _bad_release(self, environment: Environment, narrator: Narrator, clients: Clients) -> tuple[float, str]:
        began = time.monotonic()
        generation = self._release(environment, self._bad)
        rollback = self._until(
            "v3 taken back", _ROLLOUT_SECONDS, lambda: taken_back(narrator.status, generation), clients
        )
        revision = str(rollback["revision"])
        self._ended(self._bad, revision, "RolledBack", began)
        return unix_time(rollback["time"]), revision

    def _enough(self, clients: Clients) -> bool | None:
        return True if len(clients.records) >= self._limits.requests else None

    def _finish(self, clients: Clients) -> None:
        self._console.say("TRAFFIC   ends; waiting for the last answers")
        clients.finish()
        self._until("end of the traffic", _LAST_ANSWERS_SECONDS, lambda: None if clients.running else True, clients)

    def _while_counting(self, clients: Clients, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            clients.check()
            time.sleep(_POLL_SECONDS)

    def _until(self, what: str, seconds: float, look: Callable[[], T | None], clients: Clients | None = None) -> T:
        deadline = time.monotonic() + seconds
        while (found := look()) is None:
            if clients is not None:
                clients.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not so after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        return found

    @property
    def _limits(self) -> Limits:
        # A real provider costs money and limits its callers: the same promises on less traffic.
        # Whether it uses a tool is up to the model.
        if self._provider is None:
            return Limits()
        lighter = Limits(requests=500, conversations_through_change=30, tool_calls=0)
        return lighter if self._price is not None else replace(lighter, spent_usd=0.0)

    def _must_fail(self, revision: str, request_id: str) -> bool:
        if self._provider is not None:
            return self._models.get(revision) == self._bad.models
        models = self._models.get(revision, ())
        return bool(models) and all(fails(model, request_id, BAD_PERCENT) for model in models)

    def _close(self, environment: Environment, clients: Clients, story: Story) -> int:
        report = make_report(clients.records, story, self._must_fail)
        write_report(report, REPORT)
        self._console.say(f"REPORT    {REPORT.relative_to(ROOT)}")
        for line in table(report, self._limits):
            print(line)
        missed = [bar for bar in bars(report, self._limits) if not bar.met]
        for bar in missed:
            self._console.say(f"MISSED    {bar}")
        for line in farewell(environment.choice):
            print(line)
        return 1 if missed else 0


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write a report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_text(f"{json.dumps(report, indent=2)}\n", encoding="utf-8")
    partial.replace(path)


def farewell(choice: ClusterChoice) -> list[str]:
    """What to try next."""
    if choice.current:
        return ["", f"What to try next: kubectl get agd -n {NAMESPACE}; kubectl agent get {AGENT} -n {NAMESPACE}"]
    is_default = choice.name == DEFAULT_NAME
    name = "" if is_default else f" CLUSTER_NAME={choice.name}"
    flag = "" if is_default else f" --name {choice.name}"
    return [
        "",
        "The cluster is left running. What to try next:",
        f'  make kubectl{name} ARGS="get agd -n {NAMESPACE}"',
        f'  make kubectl{name} ARGS="describe agd {AGENT} -n {NAMESPACE}"',
        f'  eval "$(.venv/bin/python -m devcluster env{flag})"; .venv/bin/kubectl-agent get {AGENT} -n {NAMESPACE}',
        f"  make cluster-down{name}",
    ]
