"""Tables of agents and of revisions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentctl.rollout.render import agent_table, history_table
from agentctl.text.layout import age

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


def test_a_table_line_says_phase_step_weight_and_short_revisions(
    state: Callable[[str], dict[str, Any]],
) -> None:
    lines = agent_table([state("healthy"), state("analyzing"), state("new")], NOW).plain.splitlines()
    assert lines == [
        "NAME      PHASE         STEP   WEIGHT   STABLE       CANARY       READY   AGE",
        "support   Healthy       -      -        5c9f0a1b2d   -            2/2     2d",
        "support   Progressing   3/5    5%       5c9f0a1b2d   77aa01e4c3   2/2     2d",
        "support   -             -      -        -            -            -       2d",
    ]


def test_a_wide_table_adds_namespace_model_url_message_and_whole_revisions(
    state: Callable[[str], dict[str, Any]],
) -> None:
    text = agent_table([state("rolled-back")], NOW, wide=True, with_namespace=True).plain
    header, line = text.splitlines()
    assert header.split() == (
        ["NAMESPACE", "NAME", "PHASE", "STEP", "WEIGHT", "STABLE", "CANARY", "READY", "AGE", "MODEL", "URL", "MESSAGE"]
    )
    assert line.startswith("team-a      support   Degraded")
    assert "support-5c9f0a1b2d" in line
    assert "gpt-4o" in line


def test_a_phase_that_is_not_known_is_shown_as_it_is(state: Callable[[str], dict[str, Any]]) -> None:
    document = state("healthy")
    document["status"]["phase"] = "Dreaming"
    assert "Dreaming" in agent_table([document], NOW).plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (119, "119s"),
        (125, "2m5s"),
        (180, "3m"),
        (3599, "59m"),
        (4 * 3600 + 120, "4h2m"),
        (30 * 3600, "30h"),
        (49 * 3600, "2d"),
        (800 * 86400, "2y"),
    ],
)
def test_age_is_written_as_kubectl_does(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def record(revision: str, model: str, created: str) -> dict[str, Any]:
    """A revision's ConfigMap."""
    endpoint = {
        "model": model,
        "baseUrl": "http://m",
        "maxOutputTokens": 1,
        "firstTokenSeconds": 1,
        "idleSeconds": 1,
        "totalSeconds": 1,
    }
    document = {
        "agent": "support",
        "revision": revision,
        "instructions": "x",
        "maxIterations": 1,
        "timeoutSeconds": 1,
        "endpoints": [endpoint],
        "retry": {"maxAttempts": 1, "baseDelaySeconds": 1, "maxDelaySeconds": 1},
    }
    labels = {"greylag.dev/agent": "support", "greylag.dev/revision": revision}
    metadata = {"name": revision, "labels": labels, "creationTimestamp": created}
    return {"metadata": metadata, "data": {"document.json": json.dumps(document)}}


def route() -> dict[str, Any]:
    """An AgentRoute with a stable, a canary, a draining and a rejected revision."""
    moment = "2030-01-02T11:00:00Z"
    rollout = {
        "draining": [{"revision": "support-d", "until": moment}],
        "rejected": {"revision": "support-r", "reason": "X", "message": "y", "time": moment},
    }
    revisions = [
        {"name": "support-s", "service": "support-s", "weight": 95, "role": "Stable"},
        {"name": "support-c", "service": "support-c", "weight": 5, "role": "Canary"},
    ]
    spec = {"serial": 1, "port": 20000, "epoch": 1, "revisions": revisions, "rollout": rollout}
    return {
        "apiVersion": "greylag.dev/v1alpha1",
        "kind": "AgentRoute",
        "metadata": {"name": "support"},
        "spec": spec,
    }


def test_history_says_role_weight_and_model_newest_first() -> None:
    records = [
        record("support-s", "gpt-4o", "2030-01-01T12:00:00Z"),
        record("support-c", "gpt-5", "2030-01-02T11:59:00Z"),
        record("support-d", "gpt-4", "2029-12-01T12:00:00Z"),
        record("support-r", "bad", "2029-12-02T12:00:00Z"),
        record("support-o", "old", "2029-11-02T12:00:00Z"),
    ]
    assert history_table(records, route(), NOW).plain.splitlines() == [
        "REVISION    ROLE       WEIGHT   MODEL    AGE",
        "support-c   Canary     5%       gpt-5    60s",
        "support-s   Stable     95%      gpt-4o   24h",
        "support-r   Rejected   -        bad      31d",
        "support-d   Draining   -        gpt-4    32d",
        "support-o   -          -        old      61d",
    ]


def test_history_without_a_route_or_a_readable_record_still_lists() -> None:
    broken = record("support-s", "gpt-4o", "2030-01-01T12:00:00Z")
    broken["data"] = {"document.json": "{}"}
    assert "support-s   -      -        (unreadable record)   24h" in history_table([broken], None, NOW).plain
