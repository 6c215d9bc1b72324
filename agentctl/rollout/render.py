"""Tables of agents and of one agent's revisions, from documents and a moment; no input or output."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.text import Text

from agent_api.meta import REVISION_LABEL
from agent_api.runtime_document import DOCUMENT_KEY, RuntimeDocument
from agent_api.v1alpha1.route import AgentRoute
from agentctl.errors import AgentctlError
from agentctl.text.layout import MISSING, PHASE_STYLES, age, columns, joined, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AGENT_HEADER = ("NAME", "PHASE", "STEP", "WEIGHT", "STABLE", "CANARY", "READY", "AGE")
WIDE_HEADER = (*AGENT_HEADER, "MODEL", "URL", "MESSAGE")
HISTORY_HEADER = ("REVISION", "ROLE", "WEIGHT", "MODEL", "AGE")


def agent_table(
    agents: Sequence[Mapping[str, Any]], now: datetime, *, wide: bool = False, with_namespace: bool = False
) -> Text:
    """One line an agent; revisions without the agent's name in front, unless wide."""
    header = (*(("NAMESPACE",) if with_namespace else ()), *(WIDE_HEADER if wide else AGENT_HEADER))
    rows = [_agent_row(agent, now, wide=wide, with_namespace=with_namespace) for agent in agents]
    return joined(columns([header, *rows]))


def _agent_row(agent: Mapping[str, Any], now: datetime, *, wide: bool, with_namespace: bool) -> tuple[str | Text, ...]:
    metadata, status = agent["metadata"], agent.get("status", {})
    name, phase, weight = metadata["name"], status.get("phase", MISSING), status.get("canaryWeight")
    prefix = "" if wide else f"{name}-"
    row = (
        *((metadata["namespace"],) if with_namespace else ()),
        name,
        Text(printable(phase), style=PHASE_STYLES.get(phase, "")),
        status.get("step") or MISSING,
        MISSING if weight is None else f"{weight}%",
        (status.get("stableRevision") or MISSING).removeprefix(prefix),
        (status.get("canaryRevision") or MISSING).removeprefix(prefix),
        status.get("ready") or MISSING,
        created_age(agent, now),
    )
    if not wide:
        return row
    model = agent.get("spec", {}).get("model", {}).get("name", MISSING)
    return (*row, model, status.get("url") or MISSING, status.get("message") or MISSING)


def created_age(document: Mapping[str, Any], now: datetime) -> str:
    """Age of an object."""
    created = document["metadata"].get("creationTimestamp")
    return age(datetime.fromisoformat(created), now) if created else MISSING


def history_table(records: Sequence[Mapping[str, Any]], route: Mapping[str, Any] | None, now: datetime) -> Text:
    """One line a revision, newest first: what it is to the route, and the model of its record."""
    roles = _roles(route)
    newest_first = sorted(records, key=lambda record: record["metadata"].get("creationTimestamp") or "", reverse=True)
    rows = [_history_row(record, roles, now) for record in newest_first]
    return joined(columns([HISTORY_HEADER, *rows]))


def _history_row(record: Mapping[str, Any], roles: Mapping[str, tuple[str, str]], now: datetime) -> tuple[str, ...]:
    revision = record["metadata"].get("labels", {}).get(REVISION_LABEL) or record["metadata"]["name"]
    role, weight = roles.get(revision, (MISSING, MISSING))
    return (revision, role, weight, _model(record), created_age(record, now))


def _model(record: Mapping[str, Any]) -> str:
    try:
        text = record.get("data", {}).get(DOCUMENT_KEY, "")
        return RuntimeDocument.model_validate_json(text, extra="ignore").endpoints[0].model
    except ValidationError:
        return "(unreadable record)"


def _roles(route: Mapping[str, Any] | None) -> dict[str, tuple[str, str]]:
    if route is None:
        return {}
    try:
        spec = AgentRoute.model_validate(route, extra="ignore").spec
    except ValidationError as error:
        message = f"this agentctl is too old for AgentRoute {route['metadata']['name']}"
        raise AgentctlError(message) from error
    rejected = spec.rollout.rejected
    roles = {rejected.revision: ("Rejected", MISSING)} if rejected else {}
    roles |= {drain.revision: ("Draining", MISSING) for drain in spec.rollout.draining}
    return roles | {item.name: (item.role.value, f"{item.weight}%") for item in spec.revisions}
