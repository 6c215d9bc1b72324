"""Revisions: a hash over the behaviour, and the record from which its pods are made for ever."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from agent_api.change_kinds import behaviour_of
from agent_api.quantities import seconds
from agent_api.runtime_document import EndpointDocument, RetryDocument, RuntimeDocument
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.model import ModelEndpoint

CANONICAL_VERSION = 1
HASH_LENGTH = 10
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Record:
    """What a revision is: the document its pods read, and the pod template as rendered when it was made."""

    name: str
    document: RuntimeDocument
    template: dict[str, Any]


def short_hash(content: object, length: int = HASH_LENGTH) -> str:
    """Hash of JSON-able content, in letters and digits that spell no words."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    number = int.from_bytes(hashlib.sha256(canonical.encode()).digest(), "big")
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def revision_name(agent: str, spec: AgentDeploymentSpec, instructions: str) -> str:
    """Name of the revision that a spec asks for; `instructions` is the text, wherever it came from."""
    canonical = {"version": CANONICAL_VERSION, "behaviour": behaviour_of(spec), "instructions": instructions}
    return f"{agent}-{short_hash(canonical)}"


def make_document(agent: str, revision: str, spec: AgentDeploymentSpec, instructions: str) -> RuntimeDocument:
    """Document that the pods of a revision read at start."""
    resilience = spec.resilience
    return RuntimeDocument(
        agent=agent,
        revision=revision,
        instructions=instructions,
        max_iterations=spec.agent.max_iterations,
        timeout_seconds=seconds(spec.agent.timeout),
        endpoints=tuple(_endpoint(entry) for entry in endpoints_of(spec)),
        retry=RetryDocument(
            max_attempts=resilience.max_attempts,
            base_delay_seconds=seconds(resilience.base_delay),
            max_delay_seconds=seconds(resilience.max_delay),
        ),
    )


def endpoints_of(spec: AgentDeploymentSpec) -> tuple[ModelEndpoint, ...]:
    """The model and its fallbacks, in the order in which they are tried."""
    return (spec.model, *spec.fallback)


def _endpoint(entry: ModelEndpoint) -> EndpointDocument:
    return EndpointDocument(
        model=entry.name,
        base_url=entry.base_url,
        temperature=entry.parameters.temperature,
        max_output_tokens=entry.parameters.max_output_tokens,
        first_token_seconds=seconds(entry.timeouts.first_token),
        idle_seconds=seconds(entry.timeouts.idle),
        total_seconds=seconds(entry.timeouts.total),
    )
