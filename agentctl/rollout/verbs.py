"""Commands to the operator: an annotation, answered in the status."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent_api.meta import COMMAND_ANNOTATION
from agent_api.v1alpha1.status import ObservedCommand
from agentctl.errors import AgentctlError, NotObservedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from agentctl.cluster.client import Cluster
    from agentctl.environment import Timing

POLL_SECONDS = 0.5
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARACTERS = 9
_RANDOM_CHARACTERS = 3


class Verb(StrEnum):
    """What the operator can be asked to do."""

    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    ABORT = "abort"
    RETRY = "retry"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Command:
    """One verb with the id under which the operator answers."""

    verb: Verb
    id: str

    def __str__(self) -> str:
        """Value of the annotation."""
        return f"{self.verb}@{self.id}"


def new_command(verb: Verb, now: datetime) -> Command:
    """A command with a new id of 12 characters: milliseconds first, so that ids sort by time, then chance."""
    left, digits = int(now.timestamp() * 1000), ""
    for _ in range(_TIME_CHARACTERS):
        left, digit = divmod(left, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return Command(verb, digits + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS)))


def wait_until_observed(
    cluster: Cluster, name: str, command: Command, *, timeout: float, timing: Timing
) -> tuple[ObservedCommand, Mapping[str, Any]]:
    """Wait until the operator has answered the command; the answer and the agent as it then was.

    An API server that is away for a while is waited for.

    Raises
    ------
    NotObservedError
        If there was no answer within `timeout` seconds.
    AgentctlError
        If another command took the place of this one.
    """
    end, trouble = timing.monotonic() + timeout, ""
    while True:
        try:
            agent = cluster.get_agent(name)
        except UnreachableError as error:
            trouble = f" ({error})"
        else:
            trouble = ""
            observed = observed_command(agent)
            if observed is not None and observed.id == command.id:
                return observed, agent
            _check_not_replaced(agent, command)
        if timing.monotonic() >= end:
            message = f"{name}: the operator did not answer {command} within {timeout:g} s{trouble}; is it running?"
            raise NotObservedError(message)
        timing.sleep(POLL_SECONDS)


def observed_command(agent: Mapping[str, Any]) -> ObservedCommand | None:
    """The last command that the operator answered.

    Raises
    ------
    AgentctlError
        If this version does not understand the answer.
    """
    answer = agent.get("status", {}).get("observedCommand")
    try:
        return None if answer is None else ObservedCommand.model_validate(answer, extra="ignore")
    except ValidationError as error:
        message = "this agentctl does not understand status.observedCommand: install the version of the operator"
        raise AgentctlError(message) from error


def _check_not_replaced(agent: Mapping[str, Any], command: Command) -> None:
    present = agent["metadata"].get("annotations", {}).get(COMMAND_ANNOTATION)
    if present != str(command):
        message = f"{command} was replaced by {present or 'nothing'} before the operator saw it; look and try again"
        raise AgentctlError(message)
