"""Verbs through `kubectl agent`, live knobs without a rollout, and what people are shown meanwhile."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.support.lab import Team

PAUSED = [{"setWeight": 30}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]


def _rollout(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {"conversationDrain": "5s", "canary": {"steps": steps}}


def _ask(url: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"query": "hello", **fields}).encode()
    request = urllib.request.Request(f"{url}/agent/run", body, {"content-type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - an address of our own making
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.timeout(400)
def test_promote_abort_retry_promote_full_and_undo_do_what_they_say_and_refuse_with_the_reason(team: Team) -> None:
    steps = _rollout(PAUSED)
    team.apply(team.agent("support", rollout=steps))
    first = team.wait_phase("support", "Healthy")["stableRevision"]
    refused = team.agentctl("promote", "support")
    assert refused.returncode == 3, refused
    assert "nothing is being rolled out" in refused.stdout + refused.stderr

    team.apply(team.agent("support", model="good-2", rollout=steps))
    status = team.wait_weight("support", 30)
    second = status["canaryRevision"]
    status = team.wait_phase("support", "Paused")
    assert "kubectl agent promote" in status["message"]
    assert team.agentctl("promote", "support").returncode == 0
    team.wait_weight("support", 60)
    assert team.agentctl("abort", "support").returncode == 0
    status = team.wait_phase("support", "Degraded")
    assert (status["stableRevision"], status["rejectedRevision"]) == (first, second)
    page = team.agentctl("get", "support").stdout
    assert "retry" in page
    assert second in page

    assert team.agentctl("retry", "support").returncode == 0
    team.wait_weight("support", 30)
    assert team.agentctl("promote-full", "support").returncode == 0
    status = team.wait_phase("support", "Healthy")
    assert status["stableRevision"] == second
    assert team.agentctl("undo", "support").returncode == 0
    team.wait_for("the revision before", lambda: team.status("support")["stableRevision"] == first)
    status = team.wait_phase("support", "Degraded")
    assert status["rejectedRevision"] == second
    assert "Undone" in team.condition("support", "Ready")["reason"]


@pytest.mark.timeout(300)
def test_knobs_act_live_with_no_new_revision_and_no_restart(team: Team) -> None:
    manifest = team.agent("support")
    team.apply(manifest)
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    pods = set(team.runtime_pods("support"))
    url = team.url("support")

    manifest["spec"]["replicas"] = 2
    team.apply(manifest)
    team.wait_for("two pods", lambda: team.wait_phase("support", "Healthy")["ready"] == "2/2")
    assert pods < set(team.runtime_pods("support"))

    assert _ask(url)[0] == 200
    manifest["spec"]["suspend"] = True
    team.apply(manifest)
    team.wait_for("a refusal", lambda: _ask(url)[0] == 503, 10)
    assert "suspend" in json.dumps(_ask(url)[1])
    manifest["spec"]["suspend"] = False
    team.apply(manifest)
    team.wait_for("an answer", lambda: _ask(url)[0] == 200, 10)
    status = team.wait_phase("support", "Healthy")
    assert status["stableRevision"] == stable
    assert team.route("support")["epoch"] == 0


@pytest.mark.timeout(300)
def test_placement_replaces_pods_of_the_same_revision(team: Team) -> None:
    manifest = team.agent("support")
    team.apply(manifest)
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    before = set(team.runtime_pods("support"))
    manifest["spec"]["runtime"] = {"pod": {"tolerations": [{"key": "agents", "operator": "Exists"}]}}
    team.apply(manifest)

    def replaced() -> bool:
        pods = team.pods("greylag.dev/agent=support")
        keys = [{t.get("key") for t in pod["spec"].get("tolerations", [])} for pod in pods]
        return bool(keys) and all("agents" in found for found in keys)

    team.wait_for("pods with the toleration", replaced)
    assert before.isdisjoint(team.runtime_pods("support"))
    assert team.wait_phase("support", "Healthy")["stableRevision"] == stable
    assert team.route("support")["epoch"] == 0


@pytest.mark.timeout(300)
def test_a_user_never_moves_back_while_the_weight_grows(team: Team) -> None:
    steps = [{"setWeight": 30}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]
    rollout = {"canary": {"stickiness": "User", "steps": steps}}
    team.apply(team.agent("support", rollout=rollout))
    team.wait_phase("support", "Healthy")
    team.apply(team.agent("support", model="good-2", rollout=rollout))
    canary = team.wait_weight("support", 30)["canaryRevision"]
    url = team.url("support")

    def with_canary() -> set[str]:
        answers = {f"user-{n}": _ask(url, user_id=f"user-{n}")[1]["revision"] for n in range(60)}
        return {user for user, revision in answers.items() if revision == canary}

    early = with_canary()
    assert 5 <= len(early) <= 35
    assert with_canary() == early
    assert team.agentctl("promote", "support").returncode == 0
    team.wait_weight("support", 60)
    late = with_canary()
    assert early < late


def test_columns_explain_and_describe_answer_what_serves_and_what_stands_still(team: Team) -> None:
    rollout = _rollout(PAUSED)
    team.apply(team.agent("support", rollout=rollout))
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    team.apply(team.agent("support", model="good-2", rollout=rollout))
    canary = team.wait_phase("support", "Paused")["canaryRevision"]
    row = team.lab.kubectl("-n", team.namespace, "get", "agd", "support", "--no-headers")
    assert row.split()[1:6] == ["Paused", "2/4", "30", stable, canary]
    wide = team.lab.kubectl("-n", team.namespace, "get", "agd", "support", "-o", "wide", "--no-headers")
    assert "kubectl agent promote" in wide
    described = team.lab.kubectl("-n", team.namespace, "describe", "agd", "support")
    for expected in (stable, canary, "RolloutStarted", "TrafficWeightUpdated", "Current Step Index"):
        assert expected in described
    explained = team.lab.kubectl("explain", "agd.spec", "--recursive")
    for field in ("instructionsFrom", "maxIncrease", "conversationDrain", "apiKeySecretRef"):
        assert field in explained
    page = team.agentctl("get", "support").stdout
    for expected in (stable, canary, "30", "promote", "abort"):
        assert expected in page
