"""Where an agent stands, in one word, out of its spec and status."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent_api.meta import ConditionStatus
from agent_api.v1alpha1.agent import AgentDeployment
from agent_api.v1alpha1.status import AgentDeploymentStatus, Phase
from agentctl.errors import AgentctlError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from agent_api.meta import Condition
    from agent_api.v1alpha1.rollout import Step

ORDINARY = frozenset({"Ready", "Available", "Progressing", "Reconciling", "Stalled", "Paused", "PlacementDeferred"})


class Situation(Enum):
    """What a person must know first."""

    NOT_OBSERVED = auto()
    INVALID_SPEC = auto()
    NAME_CONFLICT = auto()
    PROBLEM = auto()
    SUSPENDED = auto()
    ROLLED_BACK = auto()
    DEGRADED = auto()
    PAUSED_BY_SPEC = auto()
    INCONCLUSIVE = auto()
    PAUSED_AT_STEP = auto()
    PAUSED = auto()
    TIMED_PAUSE = auto()
    PROGRESSING = auto()
    HEALTHY = auto()


def parse_agent(document: Mapping[str, Any]) -> AgentDeployment:
    """Read an AgentDeployment, passing over fields that a newer operator may have added.

    Raises
    ------
    AgentctlError
        If a value is one that this version does not know.
    """
    try:
        return AgentDeployment.model_validate(document, extra="ignore")
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        name = document.get("metadata", {}).get("name", "")
        message = (
            f"this agentctl does not understand {place} of {name}: install the version of the operator;"
            f" `-o yaml` shows the object as it is"
        )
        raise AgentctlError(message) from error


def status_of(agent: AgentDeployment) -> AgentDeploymentStatus:
    """Its status, or an empty one."""
    return agent.status or AgentDeploymentStatus()


def condition(agent: AgentDeployment, kind: str) -> Condition | None:
    """Condition of that type, if it was reported."""
    return next((item for item in status_of(agent).conditions if item.type == kind), None)


def true_condition(agent: AgentDeployment, kind: str) -> Condition | None:
    """Condition of that type, if it is True."""
    found = condition(agent, kind)
    return found if found is not None and found.status is ConditionStatus.TRUE else None


def current_step(agent: AgentDeployment) -> Step | None:
    """The step that the rollout stands at; None without a rollout and after the last step."""
    status, steps = status_of(agent), agent.spec.rollout.canary.steps
    index = status.current_step_index
    if status.canary_revision is None or index is None or index >= len(steps):
        return None
    return steps[index]


def situation(agent: AgentDeployment) -> Situation:
    """What a person must know first; the graver wins."""
    status = agent.status
    if status is None or status.phase is None:
        return Situation.NOT_OBSERVED
    obstacle = _obstacle(agent)
    if obstacle is not None:
        return obstacle
    if status.phase is Phase.DEGRADED:
        return _degraded_situation(agent, status)
    if status.canary_revision is not None or status.phase is Phase.PAUSED:
        return _rollout_situation(agent, status)
    return Situation.HEALTHY if status.phase is Phase.HEALTHY else Situation.PROGRESSING


def _obstacle(agent: AgentDeployment) -> Situation | None:
    if true_condition(agent, "InvalidSpec"):
        return Situation.INVALID_SPEC
    if true_condition(agent, "NameConflict"):
        return Situation.NAME_CONFLICT
    return Situation.SUSPENDED if agent.spec.suspend else None


def problem(agent: AgentDeployment) -> Condition | None:
    """The first condition beyond the ordinary ones that is True: something only a person can put right."""
    found = (item for item in status_of(agent).conditions if item.type not in ORDINARY)
    return next((item for item in found if item.status is ConditionStatus.TRUE), None)


def _degraded_situation(agent: AgentDeployment, status: AgentDeploymentStatus) -> Situation:
    if problem(agent):
        return Situation.PROBLEM
    return Situation.ROLLED_BACK if _taken_back(status) else Situation.DEGRADED


def _taken_back(status: AgentDeploymentStatus) -> bool:
    rejected = status.rejected_revision
    return rejected not in {None, status.stable_revision} and status.canary_revision is None


def _rollout_situation(agent: AgentDeployment, status: AgentDeploymentStatus) -> Situation:
    step = current_step(agent)
    if agent.spec.paused:
        return Situation.PAUSED_BY_SPEC
    if step is not None and step.pause is not None:
        return Situation.PAUSED_AT_STEP if step.pause.duration is None else Situation.TIMED_PAUSE
    if status.phase is not Phase.PAUSED:
        return Situation.PROGRESSING
    return Situation.INCONCLUSIVE if step is not None and step.analyze is not None else Situation.PAUSED
