"""Whatever tenants write, the operator lives, other keys are worked on, and people read of it."""

from __future__ import annotations

import os
import random

import pytest

from agent_operator.cluster import kinds
from agent_operator.reconcile import AgentKey, NamespaceKey
from tests.support.tenants import Operator, mutated

CASES = int(os.environ.get("GREYLAG_FUZZ_CASES", "1500"))
CALM, LOUD = AgentKey("calm", "support"), AgentKey("loud", "support")
OTHERS_WAIT_SECONDS = 1.0


async def settled(operator: Operator) -> None:
    for key in (CALM, LOUD):
        operator.make_agent(key.namespace)
        for _ in range(5):
            await operator.looked_at(key, 5)


@pytest.mark.parametrize("seed", range(4))
async def test_no_object_of_a_tenant_stops_the_work_on_others(seed: int) -> None:
    chance = random.Random(seed)
    operator = Operator()
    async with operator.running() as queue:
        await settled(operator)
        sound = operator.of_namespace(LOUD.namespace)
        for number in range(CASES // 4):
            kind, manifest = chance.choice(sound)
            operator.writes(kind, mutated(mutated(manifest, chance), chance))
            await operator.looked_at(LOUD, 5)
            await operator.looked_at(CALM, OTHERS_WAIT_SECONDS)
            assert not queue.done(), f"case {number} of seed {seed} ended the queue"
            if number % 10 == 0:
                for kept_kind, kept in sound:
                    operator.writes(kept_kind, kept)
        for kept_kind, kept in sound:
            operator.writes(kept_kind, kept)
        await operator.looked_at(LOUD, 5)


async def test_a_fault_with_one_agent_is_a_condition_of_it_and_goes_with_its_cause() -> None:
    operator = Operator()
    async with operator.running():
        await settled(operator)
        agent = operator.api.objects["AgentDeployment", "loud", "support"]
        operator.writes(kinds.AGENT_DEPLOYMENT, {**agent, "status": {**agent["status"], "conditions": [{"odd": 1}]}})
        await operator.looked_at(LOUD, 5)
        conditions = operator.api.objects["AgentDeployment", "loud", "support"]["status"]["conditions"]
        (fault,) = [entry for entry in conditions if entry.get("type") == "InternalError"]
        assert (fault["status"], fault["reason"]) == ("True", "KeyError")
        assert "Undo the last change" in fault["message"]
        await operator.looked_at(CALM, OTHERS_WAIT_SECONDS)


async def test_what_went_wrong_with_a_namespace_is_a_condition_of_its_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Operator()
    async with operator.running():
        await settled(operator)

        async def fails(_namespace: str) -> None:
            raise LookupError("s3cr3t")

        monkeypatch.setattr(operator.gateway, "_make", fails)
        operator.queue.add(NamespaceKey("loud"))
        while not operator.gateway.problems("loud"):
            await operator.looked_at(CALM, OTHERS_WAIT_SECONDS)
        await operator.looked_at(LOUD, 5)
        status = operator.api.objects["AgentDeployment", "loud", "support"]["status"]
        (fault,) = [entry for entry in status["conditions"] if entry["type"] == "InternalError"]
        assert "LookupError at test_tenants.py:" in fault["message"]
        assert "s3cr3t" not in str(status)
