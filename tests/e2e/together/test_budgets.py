"""A day's budget on the cluster: what is refused, what people are told, and what a store that lost its data costs."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.support.lab import Team
from tests.support.spending import HELD_MICRO, ask, ask_many, ask_until, in_store, spending_agent

LIVE_SECONDS = 120
"""Within which a live knob is in force."""

BUDGET, STEP = 500_000, 25_000
PAUSED = [{"setWeight": 50}, {"pause": {}}]


@pytest.mark.timeout(300)
def test_budget_that_is_used_up_is_refused_told_and_raised_without_a_restart(team: Team) -> None:
    manifest = spending_agent(team, "support", "0.5")
    team.apply(manifest)
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    pods = team.runtime_pods("support")
    url = team.url("support")
    answers = [*ask_many(url, 60), *ask_until(url, 429)]
    refused = answers[-1]
    assert (refused.problem, refused.body["scope"]) == ("budget-exceeded", "agent")
    assert 0 < refused.body["reset_seconds"] <= 86_400
    assert refused.headers["retry-after"] == str(refused.body["reset_seconds"])
    assert BUDGET - HELD_MICRO - 10_000 <= sum(answer.cost_micro for answer in answers) <= BUDGET

    condition = team.wait_for("BudgetExhausted", lambda: _is(team, "BudgetExhausted"), 30)
    assert "spec.budgets.daily.costUSD" in condition["message"]
    spent = sum(answer.cost_micro for answer in answers)
    spend = team.status("support")["spend"]
    assert abs(float(spend["todayUSD"]) * 1e6 - spent) < STEP, "a condition brings the figures with it"
    assert float(spend["todayUSD"]) + float(spend["remainingUSD"]) == pytest.approx(0.5)
    page = team.agentctl("get", "support").stdout
    assert f"${spend['todayUSD']} on {spend['day']}" in page
    assert "BudgetExhausted" in page
    assert team.status("support")["phase"] == "Healthy", "a used up budget is no fault of the agent"

    manifest["spec"]["budgets"]["daily"]["costUSD"] = "0.75"
    team.apply(manifest)
    team.wait_for("an answer", lambda: ask(url).status == 200, LIVE_SECONDS)
    status = team.wait_phase("support", "Healthy")
    assert (status["stableRevision"], team.runtime_pods("support")) == (stable, pods)
    team.wait_for("the end of BudgetExhausted", lambda: not _is(team, "BudgetExhausted"), 90)
    assert float(team.status("support")["spend"]["remainingUSD"]) > 0.2


@pytest.mark.timeout(300)
def test_figures_move_by_whole_steps_and_at_most_once_a_minute(team: Team) -> None:
    team.apply(spending_agent(team, "support", "10"))
    team.wait_phase("support", "Healthy")
    url = team.url("support")
    told: list[tuple[datetime, float]] = []

    def told_again() -> bool:
        assert {answer.status for answer in ask_many(url, 8)} == {200}
        spend = team.status("support").get("spend")
        if spend is not None:
            figure = (datetime.fromisoformat(spend["asOf"]), float(spend["todayUSD"]))
            told.extend([] if figure in told else [figure])
        return len(told) > 1

    team.wait_for("a second figure", told_again, 120)
    (first, before), (second, after) = told
    assert (second - first).total_seconds() >= 60
    assert after - before >= 0.5
    columns = "custom-columns=SPENT:.status.spend.todayUSD,LEFT:.status.spend.remainingUSD"
    row = team.lab.kubectl("-n", team.namespace, "get", "agd", "support", "--no-headers", "-o", columns)
    spent, left = map(float, row.split())
    assert spent + left == pytest.approx(10)


@pytest.mark.timeout(300)
def test_store_that_is_emptied_refuses_money_until_it_is_seeded_and_costs_at_most_a_step(team: Team) -> None:
    team.apply(spending_agent(team, "support", "0.5", replicas=2))
    team.wait_phase("support", "Healthy")
    url = team.url("support")
    answers = [ask(url) for _ in range(40)]
    team.wait_for("figures", lambda: team.status("support").get("spend"), 30)
    answers += [ask(url) for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert in_store(team, "FLUSHALL").strip() == "OK"

    lost = ask_until(url, 503)
    answers += lost
    assert {answer.problem for answer in lost if answer.status != 200} == {"ledger-unavailable"}
    condition = team.wait_for("LedgerLost", lambda: _is(team, "LedgerLost"), 30)
    assert "status.spend" in condition["message"]

    def goes_on() -> bool:
        answers.append(ask(url))
        return answers[-1].status == 200

    team.wait_for("an answer", goes_on, LIVE_SECONDS)
    assert {answer.problem for answer in answers if answer.status != 200} == {"ledger-unavailable"}
    team.wait_for("the end of LedgerLost", lambda: not _is(team, "LedgerLost"), 60)
    answers += ask_until(url, 429)
    spent = sum(answer.cost_micro for answer in answers)
    assert spent <= BUDGET + STEP
    assert spent > BUDGET - 3 * HELD_MICRO, "more was taken for spent than was spent or held"


@pytest.mark.timeout(300)
def test_canary_that_spends_its_share_gets_weight_0_until_somebody_promotes_it(team: Team) -> None:
    rollout = {"canary": {"steps": PAUSED}}
    budgets = {"canarySharePercent": 4}
    team.apply(spending_agent(team, "support", "5", rollout=rollout, budgets=budgets))
    team.wait_phase("support", "Healthy")
    team.apply(spending_agent(team, "support", "5", model="good-2", rollout=rollout, budgets=budgets))
    canary = team.wait_weight("support", 50)["canaryRevision"]
    url = team.url("support")
    team.wait_phase("support", "Paused")

    answers = ask_many(url, 8)

    def held() -> bool:
        answers.extend(ask_many(url, 8))
        return bool(_is(team, "CanaryBudgetExhausted"))

    team.wait_for("CanaryBudgetExhausted", held, 90)
    spent = sum(answer.cost_micro for answer in answers if answer.body.get("revision") == canary)
    assert spent >= 200_000
    status = team.wait_weight("support", 0)
    assert status["canaryRevision"] == canary
    assert float(status["spend"]["canaryUSD"]) >= 0.2
    assert canary not in {answer.body["revision"] for answer in ask_many(url, 24)}
    assert "promote" in team.condition("support", "CanaryBudgetExhausted")["message"]

    assert team.agentctl("promote", "support").returncode == 0
    team.wait_weight("support", 50)
    assert canary in {answer.body["revision"] for answer in ask_many(url, 40)}
    team.wait_for("the end of the condition", lambda: not _is(team, "CanaryBudgetExhausted"), 30)
    assert team.agentctl("promote", "support").returncode == 0
    assert team.wait_phase("support", "Healthy")["stableRevision"] == canary


@pytest.mark.timeout(300)
def test_downgrade_goes_on_with_the_cheaper_model_when_the_dear_one_does_not_fit(team: Team) -> None:
    cheap = {"name": "good-2", "price": {"inputPerMillion": "1", "outputPerMillion": "1"}}
    manifest = spending_agent(team, "support", "0.05")
    url = manifest["spec"]["model"]["baseURL"]
    manifest["spec"]["fallback"] = [{"baseURL": url, "parameters": {"maxOutputTokens": 64}, **cheap}]
    team.apply(manifest)
    team.wait_phase("support", "Healthy")
    address = team.url("support")
    refused = ask(address)
    assert (refused.status, refused.problem) == (429, "budget-exceeded")

    manifest["spec"]["budgets"]["onExceeded"] = "Downgrade"
    team.apply(manifest)
    team.wait_for("an answer", lambda: ask(address).status == 200, LIVE_SECONDS)
    answers = ask_many(address, 12)
    assert {(answer.status, answer.body.get("model")) for answer in answers} == {(200, "good-2")}
    assert all(0 < answer.cost_micro < 100 for answer in answers)
    assert team.route("support")["epoch"] == 0


def _is(team: Team, kind: str) -> dict[str, str] | None:
    condition: dict[str, str] = team.condition("support", kind)
    return condition if condition.get("status") == "True" else None
