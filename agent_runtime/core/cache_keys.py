"""Which answers are the same: the key is made of everything that could change one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from agent_api.v1alpha1.guards import CacheScope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_api.runtime_document import RuntimeDocument
    from agent_runtime.core.loop import Message

IGNORED_PARAMETERS = frozenset({"request_id", "stream", "stream_options", "conversation_id", "user_id", "user"})
"""Members that do not change the answer: the user is in the tenant, the conversation's content in the history."""

_FORM = 1


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who may be given the answer: one user of one revision, or all of its users if `user` is None."""

    namespace: str
    agent: str
    revision: str
    user: str | None


def tenant_of(document: RuntimeDocument, user: str) -> Tenant:
    """Tenant of a user's request, by the scope of the agent's cache."""
    shared = document.cache is not None and document.cache.scope is CacheScope.AGENT
    return Tenant(document.namespace, document.agent, document.revision, None if shared else user)


def cache_key(
    tenant: Tenant,
    instructions: str,
    history: Sequence[Message],
    query: str,
    response_format: Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
) -> str | None:
    """Key of a request's answer; None if the request holds something that has no canonical form.

    `parameters` are all other members of the request: one that nobody thought of makes another key, no wrong answer.
    What is absent differs from what is null, 0 from 0.0, and every value from its text.
    """
    document = {
        "form": _FORM,
        "tenant": tenant,
        "instructions": instructions,
        "history": list(history),
        "query": query,
        "responseFormat": response_format,
        "parameters": {name: value for name, value in parameters.items() if name not in IGNORED_PARAMETERS},
    }
    try:
        canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return hashlib.sha256(canonical).hexdigest()
