"""Facts that decisions are made from: what the cluster, the gateways and the runtimes said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent_api.acknowledgement import FIRST_FIELDS, AppliedRoute, needed_fields
from agent_api.observations import Observations
from agent_api.report import RuntimeReport, SpendReport
from agent_api.v1alpha1.rollout import Rollout, Stickiness
from agent_api.v1alpha1.route import AgentRouteSpec, JwtRule


class FailureReason(StrEnum):
    """Why the pods of a revision cannot work, whatever the time."""

    CRASH_LOOP = "CrashLoop"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONFIGURATION_INVALID = "ConfigurationInvalid"


@dataclass(frozen=True, slots=True)
class PodFailure:
    """A pod that will not come up by waiting."""

    reason: FailureReason
    message: str


@dataclass(frozen=True, slots=True)
class RevisionHealth:
    """What the cluster says of one revision's pods; `waits_for_store`: one is not ready, as it never reached it."""

    exists: bool = False
    pods: int = 0
    ready: int = 0
    status_current: bool = False
    failure: PodFailure | None = None
    not_ready_reason: str = ""
    waits_for_store: bool = False

    def available(self, replicas: int) -> bool:
        """Whether as many pods as wanted are ready, and the Deployment's status is not out of date."""
        return self.exists and self.status_current and self.ready >= replicas


ABSENT = RevisionHealth()


@dataclass(frozen=True, slots=True)
class Gateways:
    """The ready gateway pods of a namespace and what each has in force for one agent.

    `fields` are those of a route that each pod enforces. `asked` is False while one of them was never asked: then
    nothing is known that contradicts what was told before.
    """

    ready: tuple[str, ...] = ()
    applied: Mapping[str, AppliedRoute] = field(default_factory=dict)
    asked: bool = True
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def acknowledged(self, uid: str, route: AgentRouteSpec) -> bool:
        """Whether every ready gateway replica has this route in force, all of it, and there is one."""
        in_force = all(self._in_force(pod, uid, route.serial) for pod in self.ready)
        return bool(self.ready) and in_force and not self._unknown(route)

    def _unknown(self, route: AgentRouteSpec) -> dict[str, frozenset[str]]:
        """Fields of the route that ready gateways do not enforce, by pod."""
        needed = needed_fields(route.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"rollout"}))
        missing = {pod: needed - self.fields.get(pod, frozenset(FIRST_FIELDS)) for pod in self.ready}
        return {pod: fields for pod, fields in missing.items() if fields}

    def _in_force(self, pod: str, uid: str, serial: int) -> bool:
        applied = self.applied.get(pod)
        return applied is not None and applied.uid == uid and applied.serial >= serial

    def errors(self, route: AgentRouteSpec) -> tuple[str, ...]:
        """What gateways say is wrong with the route, each once, and what of it they do not know."""
        said = {f"{pod}: {a.error}" for pod, a in self.applied.items() if a.error and pod in self.ready}
        older = {
            f"{pod} is of an older release and does not enforce {', '.join(sorted(fields))};"
            " set another gateway.template in the chart to renew the gateways"
            for pod, fields in self._unknown(route).items()
        }
        return tuple(sorted(said | older))


@dataclass(frozen=True, slots=True)
class Command:
    """A verb from the annotation greylag.dev/command."""

    verb: str
    id: str


@dataclass(frozen=True, slots=True)
class CanarySpend:
    """What the canary spent of its share of a day's budget, in micro-dollars; `share_micro` None: there is no limit."""

    day: str
    spent_micro: int
    share_micro: int | None

    @property
    def exhausted(self) -> bool:
        """Whether nothing of the share is left."""
        return self.share_micro is not None and self.spent_micro >= self.share_micro


@dataclass(frozen=True, slots=True)
class Knobs:
    """What of the spec gateways carry beside weights; a change drains nothing."""

    suspended: bool = False
    stickiness: Stickiness = Stickiness.CONVERSATION
    description: str = ""
    jwt: JwtRule | None = None
    api_keys: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that one decision about a rollout rests on; `canary_spend` None: nobody knows."""

    target: str
    replicas: int
    knobs: Knobs
    paused: bool
    rollout: Rollout
    revisions: Mapping[str, RevisionHealth]
    acknowledged: bool
    recorded: frozenset[str]
    command: Command | None = None
    observations: tuple[Observations, ...] = ()
    complete: bool = False
    canary_spend: CanarySpend | None = None

    def health(self, revision: str) -> RevisionHealth:
        """Health of a revision; of one that has no pods, ABSENT."""
        return self.revisions.get(revision, ABSENT)


@dataclass(frozen=True, slots=True)
class Note:
    """An Event in the making."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Reported:
    """Reports of an agent's pods: the newest of each, those of the last half minute, and the last spend they told."""

    latest: tuple[RuntimeReport, ...] = ()
    recent: tuple[RuntimeReport, ...] = ()
    last_spend: SpendReport | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """What a decision made of the route, what to tell people, and when to look again (seconds; None: on change).

    `overdue`: a first revision, which nothing can take the place of, has missed its deadline.
    """

    route: AgentRouteSpec
    notes: tuple[Note, ...] = ()
    look_again: float | None = None
    waiting: str = ""
    overdue: bool = False
