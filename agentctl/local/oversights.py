"""What is allowed in an agent and surely not meant: a person is told before the agent serves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent_api.quantities import seconds
from agentctl.local.named_texts import API_KEYS_FIELD, endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_api.v1alpha1.agent import AgentDeploymentSpec
    from agentctl.local.manifest import Bundle

MIN_KEY_CHARACTERS = 16
"""Shorter API keys can be guessed."""

_WILDCARD = re.compile(r"[*?]")


def oversights(bundle: Bundle) -> Iterator[str]:
    """One line each, by field; no text of a Secret is in it."""
    spec = bundle.agent.spec
    yield from _timeouts(spec)
    yield from _rules_without_tools(spec)
    yield from _open_access(spec)
    yield from _short_keys(bundle)


def _timeouts(spec: AgentDeploymentSpec) -> Iterator[str]:
    for where, endpoint in endpoints(spec):
        limits = endpoint.timeouts
        if "first_token" in limits.model_fields_set and seconds(limits.first_token) > seconds(limits.total):
            yield (
                f"{where}.timeouts.firstToken: {limits.first_token} is never waited for, as total ends the call"
                f" after {limits.total}; raise total or lower firstToken"
            )


def _rules_without_tools(spec: AgentDeploymentSpec) -> Iterator[str]:
    prefixes = [f"{source.name}." for source in spec.tools]
    begin = f"names of tools begin with {' or '.join(prefixes)}" if prefixes else "spec.tools names no source"
    for at, rule in enumerate(spec.tool_policy.rules):
        if not any(_may_match(glob, prefix) for glob in rule.tools for prefix in prefixes):
            yield f"spec.toolPolicy.rules[{at}].tools: {', '.join(rule.tools)} can match no tool; {begin}"


def _may_match(glob: str, prefix: str) -> bool:
    """Whether a name with this prefix may be of the glob's form; in doubt it may."""
    head = _WILDCARD.split(glob, maxsplit=1)[0]
    return head.startswith(prefix) or (head != glob and prefix.startswith(head))


def _open_access(spec: AgentDeploymentSpec) -> Iterator[str]:
    access = spec.access
    if "access" in spec.model_fields_set and access.api_keys_secret_ref is None and access.jwt is None:
        yield "spec.access: lets everybody in who reaches the agent, as it has neither apiKeysSecretRef nor jwt"


def _short_keys(bundle: Bundle) -> Iterator[str]:
    reference = bundle.agent.spec.access.api_keys_secret_ref
    for user, text in ({} if reference is None else bundle.entries(reference.name)).items():
        keys = [line.strip() for line in text.splitlines()]
        if any(0 < len(key) < MIN_KEY_CHARACTERS for key in keys):
            yield (
                f"{API_KEYS_FIELD}: an API key of {user} has fewer than {MIN_KEY_CHARACTERS} characters and can be"
                " guessed; make one with `openssl rand -hex 32`"
            )
