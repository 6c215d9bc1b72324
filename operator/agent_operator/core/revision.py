"""Revisions: a hash over the behaviour, and the record from which its pods are made for ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from agent_api.change_kinds import behaviour_of
from agent_api.meta import KeyReference
from agent_api.quantities import micro_dollars, seconds
from agent_api.runtime_document import (
    BreakerDocument,
    CacheDocument,
    ConversationsDocument,
    EndpointDocument,
    GuardsDocument,
    HeaderDocument,
    PriceDocument,
    RetryDocument,
    RuntimeDocument,
    ToolPolicyDocument,
    ToolSourceDocument,
)
from agent_api.v1alpha1.agent import AgentDeploymentSpec, Conversations, OnOverflow
from agent_api.v1alpha1.guards import Cache, Guards
from agent_api.v1alpha1.model import CircuitBreaker, ModelEndpoint, Price, Resilience
from agent_api.v1alpha1.tools import HeaderFrom, ToolPolicy, ToolSource

CANONICAL_VERSION = 1
HASH_LENGTH = 10
NO_TEXTS: Mapping[str, str] = MappingProxyType({})
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


def open_api_references(spec: AgentDeploymentSpec) -> dict[str, KeyReference]:
    """ConfigMap keys that OpenAPI descriptions are read from, by the name of the source of tools."""
    return {
        source.name: source.http.open_api.config_map_key_ref
        for source in spec.tools
        if source.http is not None and source.http.open_api.config_map_key_ref is not None
    }


def revision_name(
    agent: str, spec: AgentDeploymentSpec, instructions: str, open_api: Mapping[str, str] = NO_TEXTS
) -> str:
    """Name of the revision that a spec asks for.

    `instructions` is the text, wherever it came from; `open_api` holds the descriptions of `open_api_references`.
    """
    canonical = {"version": CANONICAL_VERSION, "behaviour": behaviour_of(spec), "instructions": instructions}
    if open_api:
        canonical["openAPI"] = dict(open_api)
    return f"{agent}-{short_hash(canonical)}"


def make_document(
    agent: str,
    revision: str,
    spec: AgentDeploymentSpec,
    instructions: str,
    *,
    namespace: str,
    open_api: Mapping[str, str] = NO_TEXTS,
) -> RuntimeDocument:
    """Document that the pods of a revision read at start; texts are those that `revision_name` was given."""
    return RuntimeDocument(
        agent=agent,
        namespace=namespace,
        revision=revision,
        instructions=instructions,
        max_iterations=spec.agent.max_iterations,
        timeout_seconds=seconds(spec.agent.timeout),
        endpoints=tuple(_endpoint(entry) for entry in endpoints_of(spec)),
        retry=_retry(spec.resilience),
        breaker=_breaker(spec.resilience.circuit_breaker),
        conversations=_conversations(spec.agent.conversations),
        tools=tuple(_tool_source(source, open_api.get(source.name)) for source in spec.tools),
        tool_policy=_tool_policy(spec.tool_policy),
        guards=_guards(spec.guards),
        cache=None if spec.cache is None else _cache(spec.cache),
    )


def endpoints_of(spec: AgentDeploymentSpec) -> tuple[ModelEndpoint, ...]:
    """The model and its fallbacks, in the order in which they are tried."""
    return (spec.model, *spec.fallback)


def headers_of(source: ToolSource) -> tuple[HeaderFrom, ...]:
    """Headers of every call to a source of tools, in the order of their positions."""
    if source.mcp is not None:
        return tuple(source.mcp.headers_from)
    return () if source.http is None else tuple(source.http.headers_from)


def _endpoint(entry: ModelEndpoint) -> EndpointDocument:
    return EndpointDocument(
        model=entry.name,
        base_url=entry.base_url,
        temperature=entry.parameters.temperature,
        top_p=entry.parameters.top_p,
        extra=entry.parameters.extra,
        max_output_tokens=entry.parameters.max_output_tokens,
        first_token_seconds=seconds(entry.timeouts.first_token),
        idle_seconds=seconds(entry.timeouts.idle),
        total_seconds=seconds(entry.timeouts.total),
        price=None if entry.price is None else _price(entry.price),
    )


def _price(price: Price) -> PriceDocument:
    return PriceDocument(
        input_micro=micro_dollars(price.input_per_million), output_micro=micro_dollars(price.output_per_million)
    )


def _retry(resilience: Resilience) -> RetryDocument:
    return RetryDocument(
        max_attempts=resilience.max_attempts,
        base_delay_seconds=seconds(resilience.base_delay),
        max_delay_seconds=seconds(resilience.max_delay),
        max_attempts_per_run=resilience.max_attempts_per_run,
    )


def _breaker(breaker: CircuitBreaker) -> BreakerDocument:
    return BreakerDocument(
        failure_threshold=breaker.failure_threshold,
        failure_percent=breaker.failure_percent,
        window_seconds=seconds(breaker.window),
        recovery_seconds=seconds(breaker.recovery_timeout),
    )


def _conversations(conversations: Conversations) -> ConversationsDocument:
    return ConversationsDocument(
        ttl_seconds=seconds(conversations.ttl),
        max_tokens=conversations.max_tokens,
        summarise=conversations.on_overflow is OnOverflow.SUMMARISE,
    )


def _tool_source(source: ToolSource, open_api: str | None) -> ToolSourceDocument:
    http = source.http
    return ToolSourceDocument(
        name=source.name,
        mcp_url=None if source.mcp is None else source.mcp.url,
        open_api_url=None if http is None else http.open_api.url,
        open_api=open_api,
        base_url=None if http is None else http.base_url,
        headers=tuple(HeaderDocument(name=header.name) for header in headers_of(source)),
        idempotent=tuple(source.idempotent),
    )


def _tool_policy(policy: ToolPolicy) -> ToolPolicyDocument:
    return ToolPolicyDocument(
        default=policy.default,
        rules=policy.rules,
        timeout_seconds=seconds(policy.timeout),
        max_output_bytes=policy.max_output_bytes,
        max_calls_per_run=policy.max_calls_per_run,
        max_concurrent=policy.max_concurrent,
    )


def _guards(guards: Guards) -> GuardsDocument:
    return GuardsDocument(
        max_length=guards.input.max_length,
        blocked_input=tuple(guards.input.blocked_patterns),
        redact=tuple(guards.output.redact),
        blocked_output=tuple(guards.output.blocked_patterns),
    )


def _cache(cache: Cache) -> CacheDocument:
    return CacheDocument(ttl_seconds=seconds(cache.ttl), scope=cache.scope)
