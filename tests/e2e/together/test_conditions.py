"""What conditions say of a model that fails, and that they end with their cause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.environment import Environment
from demo.manifests import make_model_server
from tests.support import lab as laboratory
from tests.support.lab import Team
from tests.support.spending import ask, ask_many

# Reports are asked for every ten seconds: only calls that go on keep a breaker open for so long.
BREAKER = {"circuitBreaker": {"failureThreshold": 5, "recoveryTimeout": "5s"}, "maxAttempts": 1}


@pytest.fixture
def failing(lab: Environment) -> Iterator[Team]:
    """A namespace whose models called "bad" fail every time."""
    with laboratory.team(lab, bad_percent=100) as namespace:
        yield namespace


@pytest.mark.timeout(300)
def test_model_that_always_fails_is_left_alone_and_named_until_it_answers_again(failing: Team) -> None:
    team = failing
    team.apply(team.agent("support", model="bad-1", fallback="good-1", resilience=BREAKER))
    team.wait_phase("support", "Healthy")
    url = team.url("support")
    answers = ask_many(url, 12)
    assert {(answer.status, answer.body.get("model")) for answer in answers} == {(200, "good-1")}
    condition = team.wait_for("ModelCircuitOpen", lambda: _open_under_traffic(team, url), 30)
    assert "bad-1" in condition["message"]
    assert "good-1" not in condition["message"]
    assert "spec.resilience.circuitBreaker.recoveryTimeout" in condition["message"]
    assert "ModelCircuitOpen" in team.agentctl("get", "support").stdout
    status = team.status("support")
    assert status["phase"] == "Healthy", "the fallback answers"

    team.apply(*make_model_server(team.lab.images["modelserver"], team.namespace, 0))
    team.wait_for("an answer of the first model", lambda: ask(url).body.get("model") == "bad-1", 60)
    team.wait_for("the end of ModelCircuitOpen", lambda: not _open_under_traffic(team, url), 90)
    assert team.status("support")["stableRevision"] == status["stableRevision"]


@pytest.mark.timeout(300)
def test_agent_whose_only_model_fails_says_so_and_recovers(failing: Team) -> None:
    team = failing
    team.apply(team.agent("support", model="bad-1", resilience=BREAKER))
    team.wait_phase("support", "Healthy")
    url = team.url("support")
    answers = ask_many(url, 12)
    assert {(answer.status, answer.problem) for answer in answers} == {(502, "model-unavailable")}
    condition = team.wait_for("ModelCircuitOpen", lambda: _open_under_traffic(team, url), 30)
    assert condition["reason"] == "CircuitOpen"
    team.apply(*make_model_server(team.lab.images["modelserver"], team.namespace, 0))
    team.wait_for("an answer", lambda: ask(url).status == 200, 60)
    team.wait_for("the end of ModelCircuitOpen", lambda: not _open(team), 90)


def _open(team: Team) -> dict[str, str] | None:
    condition: dict[str, str] = team.condition("support", "ModelCircuitOpen")
    return condition if condition.get("status") == "True" else None


def _open_under_traffic(team: Team, url: str) -> dict[str, str] | None:
    ask(url)
    return _open(team)
