"""Targets: what a spec refers to is read and checked; each thing that is wrong is named with the way out."""

from __future__ import annotations

import json

import pytest

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.cluster import targets as targets_module
from agent_operator.cluster.instructions import Source, sources_of
from agent_operator.cluster.targets import Targets
from agent_operator.core.snapshot import Agent
from tests.support.agents import installation, minimal_spec

PETS = json.dumps(
    {
        "openapi": "3.1.0",
        "info": {"title": "Pets", "version": "1"},
        "servers": [{"url": "https://pets.example"}],
        "paths": {"/pets": {"get": {"operationId": "list_pets", "responses": {"200": {"description": "ok"}}}}},
    }
)
PROMPT = {"instructionsFrom": {"configMapKeyRef": {"name": "prompts", "key": "a.md"}}}
TOOL = {"name": "pets", "http": {"openAPI": {"configMapKeyRef": {"name": "apis", "key": "pets.json"}}}}


class FakeSources:
    def __init__(self, **data):
        self.sources = {name: Source(content, float("-inf")) for name, content in data.items()}
        self.read_keys = []

    async def read(self, key):
        self.read_keys.append(key)
        return self.sources.get(key[1], Source(None, float("-inf")))


def agent(generation=1, **spec):
    parsed = AgentDeploymentSpec.model_validate(minimal_spec(**spec))
    return Agent("ns", "support", "uid", generation, parsed)


async def read(sources, generation=1, targets=None, **spec):
    return await (targets or Targets(sources, installation())).read(agent(generation, **spec))


async def test_a_plain_spec_reads_nothing_and_is_settled():
    sources = FakeSources()
    target = await read(sources)
    assert target.record.document.namespace == "ns"
    assert (target.changing, target.problem, target.readable, sources.read_keys) == (False, None, True, [])


async def test_texts_are_part_of_the_revision():
    first = await read(FakeSources(prompts={"a.md": "one"}, apis={"pets.json": PETS}), agent=PROMPT, tools=[TOOL])
    assert first.record.document.instructions == "one"
    assert first.record.document.tools[0].open_api == PETS
    changed = PETS.replace("Pets", "Animals")
    others = [
        await read(FakeSources(prompts={"a.md": "two"}, apis={"pets.json": PETS}), agent=PROMPT, tools=[TOOL]),
        await read(FakeSources(prompts={"a.md": "one"}, apis={"pets.json": changed}), agent=PROMPT, tools=[TOOL]),
    ]
    assert len({first.record.name, *(other.record.name for other in others)}) == 3


@pytest.mark.parametrize(
    ("data", "spec", "reason", "message"),
    [
        (
            {},
            {"agent": PROMPT},
            "InstructionsMissing",
            "spec.agent.instructionsFrom: ConfigMap prompts does not exist; create it in this namespace",
        ),
        (
            {"prompts": {"b.md": "x"}},
            {"agent": PROMPT},
            "InstructionsMissing",
            "spec.agent.instructionsFrom: ConfigMap prompts has no text under key 'a.md'; create it in this namespace",
        ),
        (
            {},
            {"tools": [{"name": "kb", "mcp": {"url": "http://kb/mcp"}}, TOOL]},
            "DescriptionMissing",
            "spec.tools[1].http.openAPI.configMapKeyRef: ConfigMap apis does not exist; create it in this namespace",
        ),
    ],
)
async def test_a_text_that_is_missing_is_named_with_the_way_out(data, spec, reason, message):
    target = await read(FakeSources(**data), **spec)
    assert target.record is None
    assert (target.problem.type, target.problem.reason, target.problem.message) == ("InvalidSpec", reason, message)
    assert target.readable


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"toolPolicy": {"rules": [{"tools": ["kb.*"], "action": "Allow", "when": "args.x +"}]}}, "spec.toolPolicy."),
        ({"budgets": {"timeZone": "Mars/Phobos"}}, "spec.budgets.timeZone"),
        ({"guards": {"input": {"blockedPatterns": ["("]}}}, "spec.guards.input.blockedPatterns[0]"),
    ],
)
async def test_the_first_wrong_part_is_told_by_its_path_and_the_spec_is_not_used(spec, path):
    target = await read(FakeSources(), **spec)
    assert (target.record, target.readable) == (None, False)
    assert (target.problem.type, target.problem.reason) == ("InvalidSpec", "InvalidField")
    assert target.problem.message.startswith(path)
    assert target.problem.message.endswith("; the old revision goes on serving")


async def test_a_spec_and_a_config_map_that_change_together_settle_first(monkeypatch):
    sources = FakeSources(prompts={"a.md": "one"})
    targets = Targets(sources, installation())
    assert not (await read(sources, 1, targets, agent=PROMPT)).changing
    assert (await read(sources, 2, targets, agent=PROMPT)).changing
    monkeypatch.setattr(targets_module, "QUIET_SECONDS", 0.0)
    assert not (await read(sources, 2, targets, agent=PROMPT)).changing
    targets.forget(("ns", "support"))
    monkeypatch.undo()
    assert not (await read(sources, 3, targets, agent=PROMPT)).changing


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"agent": PROMPT, "tools": [{"name": "kb"}, TOOL]}, ["prompts", "apis"]),
        ({}, []),
        ({"agent": {"instructionsFrom": {"configMapKeyRef": {"name": 5}}}, "tools": "all"}, []),
        ({"agent": [], "tools": [None, {"http": {"openAPI": {"configMapKeyRef": "x"}}}]}, []),
    ],
)
def test_config_maps_are_found_in_any_spec(spec, names):
    assert list(sources_of({"spec": spec})) == names
