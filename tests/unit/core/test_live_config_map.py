"""The live ConfigMap: limits in whole micro-dollars, equal bytes for equal content, and no secret."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.live_document import (
    AccessDocument,
    BudgetsDocument,
    JwtDocument,
    LedgerDocument,
    LiveDocument,
    RateLimitsDocument,
)
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.budgets import OnExceeded
from agent_operator.core.names import revision_labels
from agent_operator.core.resources.live import (
    live_name,
    make_live_config_map,
    make_live_document,
    read_live_document,
)
from agent_operator.core.resources.metadata import make_owner

REPOSITORY = Path(__file__).parents[3]
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]["spec"]
MINIMAL = {"agent": {"instructions": "x"}, "model": {"name": "m", "baseURL": "https://m.example"}}
LEDGER = LedgerDocument(epoch="e1", sequence=7, day="2026-11-25", spent_micro=5, seed="e2")
OWNER = make_owner("support", "uid-1")


def document_of(spec, ledger=LEDGER, canary=""):
    return make_live_document(AgentDeploymentSpec.model_validate(spec), ledger, canary)


def config_map_of(document):
    return make_live_config_map("support", "team-a", OWNER, document)


def test_nothing_set_is_no_limit_and_access_for_everybody():
    assert document_of(MINIMAL, LedgerDocument()) == LiveDocument()


def test_limits_are_in_micro_dollars():
    assert document_of(FULL).budgets == BudgetsDocument(
        request_micro=500_000,
        request_tokens=50_000,
        user_daily_micro=5_000_000,
        daily_micro=100_000_000,
        canary_share_percent=30,
        time_zone="Europe/Berlin",
        on_exceeded=OnExceeded.DOWNGRADE,
    )


@settings(deadline=None)
@given(st.integers(1, 99_999_999_999_999))
def test_every_amount_is_kept_to_the_micro_dollar(micro):
    spec = copy.deepcopy(MINIMAL) | {"budgets": {"daily": {"costUSD": f"{micro // 1_000_000}.{micro % 1_000_000:06}"}}}
    assert document_of(spec).budgets.daily_micro == micro


def test_rate_limits_and_access_are_those_of_the_spec():
    document = document_of(FULL)
    limits = RateLimitsDocument(requests_per_minute=600, per_user_per_minute=30, max_concurrent=64)
    assert document.rate_limits == limits
    jwt = FULL["access"]["jwt"]
    assert document.access == AccessDocument(
        api_keys=True, jwt=JwtDocument(issuer=jwt["issuer"], audiences=tuple(jwt["audiences"]), jwks=jwt["jwks"])
    )


def test_ledger_and_canary_are_passed_on():
    document = document_of(FULL, canary="support-77aa01e4c3")
    assert (document.ledger, document.canary_revision) == (LEDGER, "support-77aa01e4c3")


def test_the_config_map_is_owned_and_told_from_records_by_its_component():
    manifest = config_map_of(document_of(FULL))
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("ConfigMap", "support-live")
    assert manifest["metadata"]["ownerReferences"] == [OWNER]
    labels = manifest["metadata"]["labels"]
    assert labels["greylag.dev/agent"] == "support"
    assert (
        labels["app.kubernetes.io/component"]
        == "live"
        != revision_labels("support", "r")["app.kubernetes.io/component"]
    )
    assert "immutable" not in manifest


def test_equal_documents_give_equal_bytes():
    again = json.loads(json.dumps(FULL))
    assert config_map_of(document_of(FULL)) == config_map_of(document_of(dict(reversed(again.items()))))


def test_names_of_secrets_are_not_in_the_config_map():
    text = json.dumps(config_map_of(document_of(FULL)))
    assert not [name for name in ("support-keys", "redis", "ca.pem") if name in text]


def test_a_document_is_read_back_as_it_was_written():
    document = document_of(FULL, canary="support-x")
    assert read_live_document(config_map_of(document)) == document


@pytest.mark.parametrize(
    "config_map",
    [
        {},
        {"data": None},
        {"data": []},
        {"data": {}},
        {"data": {"live.json": None}},
        {"data": {"live.json": "{"}},
        {"data": {"live.json": '{"version": 2}'}},
        {"data": {"live.json": '{"ledger": {"spentMicro": -1}}'}},
    ],
)
def test_a_config_map_that_was_edited_by_hand_is_not_read(config_map):
    assert read_live_document(config_map) is None


def test_the_longest_name_of_an_agent_gives_a_name_that_kubernetes_takes():
    assert len(live_name("a" * 45)) <= 63
