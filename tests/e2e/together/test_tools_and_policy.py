"""What the policy denies is told to the model, and what a person must allow waits for one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.asking import Answer, ask, request
from tests.support.lab import Team
from tests.support.shop import Shop, call

POLICY = {
    "default": "Deny",
    "rules": [
        {"tools": ["shop.getOrder", "shop.refundOrder"], "action": "Allow"},
        {"tools": ["shop.refundOrder"], "action": "Deny", "when": "!args.reason.contains('damaged')"},
        {
            "tools": ["office.write_file"],
            "action": "RequireApproval",
            "paths": {"argument": "path", "allowedPrefixes": ["/workspace"]},
        },
    ],
}
UNDO, DAMAGED = {"order_id": "1", "reason": "no more"}, {"order_id": "2", "reason": "it is damaged"}
ENDED = {"Succeeded", "Failed", "Cancelled"}


def _task(team: Team, url: str, task: str) -> dict[str, Any]:
    """The task once it has ended."""

    def look() -> dict[str, Any] | None:
        document: dict[str, Any] = request(f"{url}/agent/tasks/{task}").document
        return document if document["status"] in ENDED else None

    return team.wait_for("the end of the task", look, 30)


def _writes(url: str, path: str) -> Answer:
    return ask(url, call("write_file", path=path, content="hello"))


@pytest.mark.timeout(240)
def test_denied_calls_are_data_for_the_model_and_others_wait_for_a_person(team: Team) -> None:
    shop = Shop(team)
    team.apply(team.agent("support", tools=[shop.api(), shop.mcp()], toolPolicy=POLICY))
    team.wait_phase("support", "Healthy")
    url = team.url("support")

    answer = ask(url, call("getOrder", order_id="7") + call("refundOrder", **UNDO) + call("refundOrder", **DAMAGED))
    assert answer.status == 200, answer
    outcomes = [(used["name"], used["outcome"]) for used in answer.document["tool_calls"]]
    assert sorted(outcomes) == [("shop.getOrder", "ok"), ("shop.refundOrder", "denied"), ("shop.refundOrder", "ok")]
    assert list(shop.calls("refundOrder")) == [json.dumps(DAMAGED)]
    denied = ask(url, call("refundOrder", **UNDO))
    assert (denied.status, denied.headers["x-greylag-outcome"]) == (200, "ok")
    assert "rule 2 of the tool policy denies it" in denied.document["answer"]
    outside = _writes(url, "/workspace/../etc/passwd")
    assert [used["outcome"] for used in outside.document["tool_calls"]] == ["denied"]

    approved, rejected = _writes(url, "/workspace/a"), _writes(url, "/workspace/b")
    for waiting in (approved, rejected):
        assert (waiting.status, waiting.document["status"]) == (202, "WaitingForApproval")
        assert [wanted["name"] for wanted in waiting.document["approvals"]] == ["office.write_file"]
    assert not shop.calls("write_file")

    done = team.agentctl("task", "approve", approved.document["task_id"], "--url", url)
    assert done.returncode == 0, done
    task = _task(team, url, approved.document["task_id"])
    assert (task["status"], task["result"]["tool_calls"][0]["outcome"]) == ("Succeeded", "ok"), task
    assert "wrote 5 characters to /workspace/a" in task["result"]["answer"]

    (wanted,) = rejected.document["approvals"]
    place = f"{url}/agent/tasks/{rejected.document['task_id']}/approvals/{wanted['id']}"
    assert request(place, {"decision": "reject", "reason": "not now"}).status == 200
    task = _task(team, url, rejected.document["task_id"])
    assert (task["status"], task["result"]["tool_calls"][0]["outcome"]) == ("Succeeded", "rejected"), task
    assert list(shop.calls("write_file")) == [json.dumps({"content": "hello", "path": "/workspace/a"})]
