"""The revision that a spec asks for: the texts that it refers to are read, and all of it is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent_api.meta import KeyReference
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.cluster.instructions import InstructionSources
from agent_operator.cluster.store import Key
from agent_operator.core.resources.workload import make_template
from agent_operator.core.revision import Record, make_document, open_api_references, revision_name
from agent_operator.core.settings import Installation
from agent_operator.core.snapshot import QUIET_SECONDS, Agent, Problem
from agent_operator.core.validation import invalid_parts


@dataclass(frozen=True, slots=True)
class Target:
    """What a spec asks for: None if it cannot be known, with the problem; `changing`: it may still change.

    `readable` is False if the spec itself is wrong, and not only a ConfigMap that is missing.
    """

    record: Record | None
    changing: bool = False
    problem: Problem | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True)
class _Text:
    """A text from a ConfigMap, or what to tell if it is not there."""

    text: str | None
    changed_at: float
    missing: str = ""


class Targets:
    """Reads what specs refer to. A ConfigMap and a spec that change together make one revision."""

    def __init__(self, sources: InstructionSources, installation: Installation) -> None:
        self._sources = sources
        self._installation = installation
        self._generations: dict[Key, tuple[int, float]] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of an agent that is gone."""
        self._generations.pop(key, None)

    async def read(self, agent: Agent) -> Target:
        """The revision that an agent's spec asks for."""
        references = dict(_references(agent.spec))
        texts = {path: await self._text(agent.namespace, reference) for path, reference in references.items()}
        changing = bool(texts) and self._is_changing(agent, texts)
        for path, text in texts.items():
            if text.text is None:
                message = f"{path}: {text.missing}; create it in this namespace"
                reason = "InstructionsMissing" if path == _INSTRUCTIONS else "DescriptionMissing"
                return Target(None, changing, Problem("InvalidSpec", reason, message))
        instructions = _read(texts, _INSTRUCTIONS) or agent.spec.agent.instructions or ""
        open_api = {name: _read(texts, _path(agent.spec, name)) for name in open_api_references(agent.spec)}
        return self._checked(agent, instructions, open_api, changing=changing)

    def _checked(self, agent: Agent, instructions: str, open_api: Mapping[str, str], *, changing: bool) -> Target:
        spec = agent.spec
        wrong = invalid_parts(spec, open_api, instructions)
        if wrong:
            message = f"{wrong[0]}; the old revision goes on serving"
            return Target(None, changing, Problem("InvalidSpec", "InvalidField", message), readable=False)
        name = revision_name(agent.name, spec, instructions, open_api)
        document = make_document(agent.name, name, spec, instructions, namespace=agent.namespace, open_api=open_api)
        return Target(Record(name, document, make_template(agent.name, name, spec, self._installation)), changing)

    async def _text(self, namespace: str, reference: KeyReference) -> _Text:
        source = await self._sources.read((namespace, reference.name))
        if source.data is None:
            return _Text(None, source.since, f"ConfigMap {reference.name} does not exist")
        text = source.data.get(reference.key)
        missing = f"ConfigMap {reference.name} has no text under key {reference.key!r}"
        return _Text(text or None, source.since, missing)

    def _is_changing(self, agent: Agent, texts: Mapping[str, _Text]) -> bool:
        changed_at = max(self._changed_at(agent), *(text.changed_at for text in texts.values()))
        return asyncio.get_running_loop().time() - changed_at < QUIET_SECONDS

    def _changed_at(self, agent: Agent) -> float:
        key = (agent.namespace, agent.name)
        known = self._generations.get(key)
        if known is None:
            self._generations[key] = (agent.generation, float("-inf"))
        elif known[0] != agent.generation:
            self._generations[key] = (agent.generation, asyncio.get_running_loop().time())
        return self._generations[key][1]


_INSTRUCTIONS = "spec.agent.instructionsFrom"


def _references(spec: AgentDeploymentSpec) -> Iterator[tuple[str, KeyReference]]:
    """ConfigMap keys that a spec refers to, by path."""
    if spec.agent.instructions_from is not None:
        yield _INSTRUCTIONS, spec.agent.instructions_from.config_map_key_ref
    for name, reference in open_api_references(spec).items():
        yield _path(spec, name), reference


def _path(spec: AgentDeploymentSpec, source: str) -> str:
    index = next(index for index, tool in enumerate(spec.tools) if tool.name == source)
    return f"spec.tools[{index}].http.openAPI.configMapKeyRef"


def _read(texts: Mapping[str, _Text], path: str) -> str:
    text = texts.get(path)
    return "" if text is None else text.text or ""
