"""What is evidence, and how soon: own ids, a long run in flight, a canary that answers nobody."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from demo.environment import Environment
from demo.manifests import MODELS, MODELS_PORT
from tests.support import lab as laboratory
from tests.support.asking import Answer, ask, request
from tests.support.lab import Team

ANALYSIS = {"metrics": [{"name": "errorRate", "maxIncrease": "0.05"}], "minSamples": 30}
PATIENT = {"instructions": "You answer.", "timeout": "300s"}
LONG_TIMEOUTS = {"firstToken": "290s", "idle": "290s", "total": "290s"}


@pytest.fixture
def failing(lab: Environment) -> Iterator[Team]:
    """A namespace whose models called "bad" fail every time."""
    with laboratory.team(lab, bad_percent=100) as namespace:
        yield namespace


def release(team: Team, model: str, **fields: Any) -> dict[str, Any]:
    """An agent whose releases get half of the conversations until their verdict."""
    canary = {"steps": [{"setWeight": 50}, {"analyze": {}}], "analysis": ANALYSIS}
    manifest = team.agent("support", model=model, rollout={"canary": canary}, **fields)
    manifest["spec"]["model"]["timeouts"] = LONG_TIMEOUTS
    return manifest


def begin(team: Team, model: str, canary: str, **fields: Any) -> str:
    """Bring an agent up, and its release to half of the conversations; returns its URL."""
    team.apply(release(team, model, **fields))
    team.wait_phase("support", "Healthy")
    url = team.url("support")
    team.apply(release(team, canary, **fields))
    team.wait_weight("support", 50)
    return url


@pytest.mark.timeout(300)
def test_ids_of_the_callers_own_are_conversations_and_no_evidence(team: Team) -> None:
    url = begin(team, "good-1", "good-2")
    answers = [ask(url, x_conversation_id=f"session-{number % 4}") for number in range(40)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.document["conversation_id"] for answer in answers}) == 4
    stable = team.status("support")["stableRevision"]
    assert {answer.document["revision"] for answer in answers} == {stable}
    with ThreadPoolExecutor(4) as pool:
        split = Counter(answer.document["revision"] for answer in pool.map(lambda _: ask(url), range(40)))
    wanted = {"stableRequests": split.pop(stable), "canaryRequests": sum(split.values())}

    def counted() -> dict[str, Any] | None:
        """What is counted, once it holds the newest: slots are read in the order of their time."""
        found = team.status("support").get("analysis", {}).get("metrics") or [{}]
        return found[0] if all(found[0].get(name, 0) >= count for name, count in wanted.items()) else None

    metric = team.wait_for("all that was split is counted", counted, 30)
    assert {name: metric[name] for name in wanted} == wanted


@pytest.mark.timeout(420)
def test_a_bad_canary_is_taken_back_while_a_run_of_minutes_is_in_flight(failing: Team) -> None:
    team = failing
    team.apply(release(team, "good-1", agent=PATIENT))
    team.wait_phase("support", "Healthy")
    url = team.url("support")
    long_run = threading.Thread(target=_ask_and_leave, args=(url, "[[wait 280]] think", 200.0), daemon=True)
    long_run.start()
    team.wait_for("the model's call", lambda: request(f"{_models(team)}/stats").document["calls"].get("good-1"))
    team.apply(release(team, "bad-1", agent=PATIENT))
    team.wait_weight("support", 50)
    failed: list[float] = []

    def taken_back() -> bool:
        if ask(url).status == 502:
            failed.append(time.monotonic())
        return "rejectedRevision" in team.status("support")

    team.wait_for("the rollback", taken_back, 120)
    seconds = time.monotonic() - failed[min(9, len(failed) - 1)]
    assert long_run.is_alive(), "the run was in flight all the time"
    assert team.status("support")["lastRollback"]["reason"] == "AnalysisFailed"
    assert seconds <= 15, f"{seconds:.1f} s after the tenth failed answer of {len(failed)}"


@pytest.mark.timeout(300)
def test_a_canary_that_answers_nobody_is_taken_back(team: Team) -> None:
    url = begin(team, "good-1", "mute-1", agent=PATIENT)
    stop = threading.Event()

    def impatient() -> None:
        while not stop.is_set():
            _ask_and_leave(url, "hello", 3.0)
            stop.wait(0.3)

    clients = [threading.Thread(target=impatient, daemon=True) for _ in range(6)]
    for client in clients:
        client.start()
    try:
        team.wait_for("the rollback", lambda: "rejectedRevision" in team.status("support"), 90)
    finally:
        stop.set()
    rollback = team.status("support")["lastRollback"]
    assert rollback["reason"] == "AnalysisFailed"
    assert rollback["message"].startswith("unanswered: canary 100.0 %")


def _models(team: Team) -> str:
    """Where the model server is reached from this machine."""
    service = team.find(f"/api/v1/namespaces/{team.namespace}/services/{MODELS}")
    assert service is not None
    return f"http://{service['spec']['clusterIP']}:{MODELS_PORT}"


def _ask_and_leave(url: str, query: str, patience: float) -> Answer | None:
    try:
        return request(f"{url}/agent/run", {"query": query}, seconds=patience)
    except OSError:
        return None


@pytest.mark.timeout(300)
def test_an_agent_that_is_deleted_and_applied_again_begins_with_its_own_revision(team: Team) -> None:
    team.apply(release(team, "good-1"))
    team.wait_phase("support", "Healthy")
    path = f"{laboratory.GROUP}/namespaces/{team.namespace}/agentdeployments/support"
    team.lab.api.delete(path)
    team.wait_for("the deletion", lambda: team.find(path) is None)
    team.apply(release(team, "good-2"))
    status = team.wait_phase("support", "Healthy", 120)
    assert "canaryRevision" not in status
    answers = [ask(team.url("support")) for _ in range(20)]
    assert {(answer.status, answer.document.get("model")) for answer in answers} == {(200, "good-2")}
    assert not [event for event in team.events("support") if event["reason"] == "RolloutStarted"]


@pytest.mark.timeout(300)
def test_a_first_revision_of_which_half_serves_is_replaced_by_steps_alone(team: Team) -> None:
    apart = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"greylag.dev/agent": "support"}},
    }
    alone = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}}
    team.apply(release(team, "good-1", replicas=2, runtime={"pod": alone}))
    url = team.url("support")
    team.wait_for("an answer", lambda: ask(url).status == 200)
    team.wait_for("its protection", lambda: team.route("support")["rollout"].get("stableAvailable"))
    first = team.status("support")["stableRevision"]
    team.apply(release(team, "good-2", replicas=2, runtime={"pod": alone}))
    team.wait_for("the canary", lambda: team.status("support").get("canaryRevision"))
    status = team.status("support")
    assert (status["stableRevision"], status["canaryWeight"]) == (first, 0)
    assert {ask(url).document["revision"] for _ in range(20)} == {first}
