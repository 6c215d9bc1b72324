"""What applies live, what is told of money, and which conditions reports make of an agent."""

from __future__ import annotations

import pytest

from agent_api.live_document import LedgerDocument, LiveDocument
from agent_api.report import BreakerReport, RuntimeReport, SpendReport, StoreReport
from agent_api.v1alpha1.status import AgentDeploymentStatus
from agent_operator.core.facts import Command, Reported
from agent_operator.core.plan import Apply
from agent_operator.core.resources.live import live_name, read_live_document
from tests.support.agents import NAME, Cluster, describe, minimal_spec

BUDGETS = {"daily": {"costUSD": "100"}, "canarySharePercent": 20}
HELD = {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}
JWT = {"issuer": "https://issuer", "audiences": ["support"], "jwks": '{"keys": []}'}
DAY = "2030-01-01"


def running(**spec):
    return Cluster(spec=minimal_spec(budgets=BUDGETS, **spec)).run()


def money(micro, *, canary=0, day=DAY, epoch="e1", sequence=1, **fields):
    spend = SpendReport(day=day, spent_micro=micro, canary_micro=canary, epoch=epoch, sequence=sequence)
    return said(spend=spend, **fields)


def said(**fields):
    report = RuntimeReport(instance="p", **{"store": StoreReport(reachable=True, was_reached=True), **fields})
    return Reported((report,), (report,), report.spend)


def live(cluster) -> LiveDocument:
    return read_live_document(cluster.configs[live_name(NAME)])


def types(cluster):
    return {entry["type"] for entry in cluster.status["conditions"] if entry["status"] == "True"}


# The live document.


def test_live_parts_of_the_spec_reach_the_pods_without_a_new_revision():
    cluster = running()
    before = cluster.stable
    assert live(cluster).budgets.daily_micro == 100_000_000
    cluster.edit(budgets={"daily": {"costUSD": "7"}}, rateLimits={"maxConcurrent": 3}, access={"jwt": JWT}).run()
    assert (live(cluster).budgets.daily_micro, live(cluster).rate_limits.max_concurrent) == (7_000_000, 3)
    assert live(cluster).access.jwt.issuer == "https://issuer"
    assert cluster.stable == before


def test_it_is_there_before_the_pods_and_written_only_when_it_changes():
    cluster = running()
    words = [describe(action) for action in cluster.log]
    assert words.index(f"apply ConfigMap {NAME}-live") < words.index(f"apply Deployment {cluster.stable}")
    assert cluster.reconcile() == ()


def test_it_names_the_canary_while_there_is_one():
    cluster = running(rollout=HELD).model("m2").run()
    assert live(cluster).canary_revision == cluster.canary
    cluster.command = Command("abort", "1")
    assert live(cluster.run()).canary_revision == ""


def test_a_spec_that_cannot_be_used_changes_nothing_that_applies_live():
    cluster = running(access={"jwt": JWT})
    before, route = live(cluster), cluster.spec_of_route
    cluster.readable = False
    cluster.edit(budgets={}, access={}).run()
    assert live(cluster) == before
    assert cluster.spec_of_route == route


def test_a_first_spec_applies_however_the_pods_are():
    cluster = Cluster(spec=minimal_spec(budgets=BUDGETS), readable=False).run()
    assert live(cluster).budgets.daily_micro == 100_000_000


def test_a_live_document_edited_by_hand_is_written_again():
    cluster = running()
    cluster.configs[live_name(NAME)]["data"] = {"live.json": "nonsense"}
    assert live(cluster.run()).budgets.daily_micro == 100_000_000


def test_what_gateways_must_know_reaches_the_route_with_a_new_serial():
    cluster = running()
    serial = cluster.spec_of_route.serial
    cluster.edit(agent={"instructions": "You answer.", "description": "helps"}, access={"jwt": JWT}).run()
    route = cluster.spec_of_route
    assert (route.serial, route.description, route.jwt.audiences) == (serial + 1, "helps", ("support",))
    keys = {"apiKeysSecretRef": {"name": "keys"}}
    cluster.edit(access=keys).run()
    assert (cluster.spec_of_route.api_keys, cluster.spec_of_route.jwt) == (True, None)


# Money.


def test_spend_is_told_and_kept_on_the_same_occasion():
    cluster = running()
    cluster.reported = money(12_500_000)
    cluster.run()
    assert cluster.status["spend"] == {
        "day": DAY,
        "todayUSD": "12.5",
        "remainingUSD": "87.5",
        "asOf": "2030-01-01T12:00:00Z",
    }
    assert live(cluster).ledger == LedgerDocument(epoch="e1", sequence=1, day=DAY, spent_micro=12_500_000)
    AgentDeploymentStatus.model_validate(cluster.status)


def test_constant_traffic_below_a_step_writes_nothing():
    cluster = running()
    cluster.reported = money(0)
    cluster.run()
    before = cluster.status
    for number in range(1, 50):
        cluster.reported = money(number * 100_000, sequence=number)
        assert cluster.passes(10).reconcile() == ()
        assert cluster.status == before


def test_a_step_within_the_minute_is_told_when_the_minute_is_over():
    cluster = running()
    cluster.reported = money(0)
    cluster.run()
    cluster.reported = money(6_000_000, sequence=2)
    cluster.passes(20).run()
    assert (cluster.status["spend"]["todayUSD"], cluster.decision.look_again) == ("0", 40)
    cluster.passes(40).run()
    assert cluster.status["spend"]["todayUSD"] == "6"


def test_what_was_spent_survives_a_store_that_lost_its_data():
    cluster = running()
    cluster.reported = money(50_000_000, sequence=7)
    cluster.run()
    cluster.reported = said(ledger_lost=True)
    cluster.passes(10).run()
    ledger = live(cluster).ledger
    assert (ledger.epoch, ledger.spent_micro, ledger.day) == ("e1", 50_000_000, DAY)
    assert ledger.seed
    assert "LedgerLost" in types(cluster)
    cluster.passes(10).run()
    assert live(cluster).ledger == ledger
    cluster.reported = money(50_000_000, epoch=ledger.seed, sequence=1)
    cluster.passes(10).run()
    assert (live(cluster).ledger.epoch, live(cluster).ledger.seed) == (ledger.seed, "")
    assert "LedgerLost" not in types(cluster)


# Conditions.


@pytest.mark.parametrize(
    ("reported", "kind"),
    [
        (said(store=StoreReport(reachable=False, was_reached=True, reason="refused")), "StoreUnavailable"),
        (money(1, budget_exhausted=True), "BudgetExhausted"),
        (said(breakers=(BreakerReport(model="m1", seconds=5),)), "ModelCircuitOpen"),
        (said(tools_unavailable=("kb",)), "ToolsUnavailable"),
        (said(ledger_lost=True), "LedgerLost"),
    ],
)
def test_what_pods_report_is_a_condition_beside_ready(reported, kind):
    cluster = running()
    cluster.reported = reported
    cluster.run()
    assert types(cluster) == {"Ready", "Available", kind}
    assert cluster.status["phase"] == "Healthy"
    before = cluster.status
    cluster.passes(10).run()
    assert cluster.status == before
    cluster.reported = said()
    assert types(cluster.run()) == {"Ready", "Available"}


def test_a_new_leader_that_has_asked_nobody_changes_no_status():
    cluster = running()
    cluster.reported = money(99_000_000, budget_exhausted=True)
    before = cluster.run().status
    cluster.reported = None
    assert cluster.passes(10).run().status == before


def test_a_condition_brings_the_figures_with_it():
    cluster = running()
    cluster.reported = money(95_000_000)
    cluster.run()
    cluster.reported = money(99_900_000, sequence=2, budget_exhausted=True)
    cluster.passes(10).run()
    assert cluster.status["spend"]["remainingUSD"] == "0.1"


def test_pods_that_wait_for_their_store_are_named_with_the_reason():
    cluster = running(rollout=HELD)
    cluster.pods_follow = False
    cluster.awaiting_store = "the store was not reached yet: refused"
    cluster.model("m2").run()
    condition = cluster.condition("StoreUnavailable")
    assert (condition["status"], condition["reason"]) == ("True", "NeverReached")
    assert condition["message"].startswith(f"{cluster.canary}: the store was not reached yet: refused")
    assert "no deadline runs" in condition["message"]
    assert cluster.status["phase"] == "Progressing"
    cluster.passes(36_000).run()
    assert cluster.canary is not None


def test_a_canary_that_spent_its_share_is_paused_at_weight_0_and_says_so():
    cluster = running(rollout=HELD).model("m2").run()
    cluster.reported = money(30_000_000, canary=20_000_000)
    cluster.run()
    assert cluster.status["canaryWeight"] == 0
    assert cluster.status["spend"]["canaryUSD"] == "20"
    assert (cluster.status["phase"], cluster.condition("Ready")["reason"]) == ("Paused", "CanaryBudgetExhausted")
    assert {"Paused", "CanaryBudgetExhausted"} <= types(cluster)
    assert "kubectl agent promote" in cluster.status["message"]
    cluster.reported = money(1, day="2030-01-02", sequence=2)
    cluster.passes(60_000).run()
    assert cluster.status["canaryWeight"] == 10
    assert "CanaryBudgetExhausted" not in types(cluster)


def test_a_canary_that_is_held_or_goes_on_brings_the_figures_of_money_with_it():
    cluster = running(rollout=HELD).model("m2").run()
    cluster.reported = money(19_000_000, canary=19_000_000)
    cluster.run()
    assert cluster.status["spend"]["canaryUSD"] == "19"
    cluster.reported = money(20_000_000, canary=20_000_000, sequence=2)
    cluster.passes(1).run()
    assert "CanaryBudgetExhausted" in types(cluster)
    assert cluster.status["spend"]["canaryUSD"] == "20"


def test_the_live_document_is_never_retired():
    cluster = running(rollout={"canary": {"steps": []}, "revisionHistoryLimit": 0, "conversationDrain": "0s"})
    cluster.model("m2").run()
    assert live_name(NAME) in cluster.configs
    assert isinstance(cluster.log[0], Apply)
