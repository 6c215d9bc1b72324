"""The commands that only read: get, with --watch, and history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.text import Text

from agentctl.errors import AgentctlError, UnreachableError
from agentctl.rollout.page import agent_page
from agentctl.rollout.render import agent_table, history_table

if TYPE_CHECKING:
    from agentctl.cluster.client import Cluster
    from agentctl.environment import Environment
    from agentctl.rollout.guidance import Invocation
    from agentctl.text.terminal import Terminal

WATCH_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
"""How long --watch bears an API server that does not answer."""


class Output(StrEnum):
    """Format of `get`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class Selection:
    """What `get` shows, and how."""

    name: str | None
    all_namespaces: bool
    output: Output

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises
        ------
        AgentctlError
            If a name is given for all namespaces.
        """
        if self.name is not None and self.all_namespaces:
            raise AgentctlError("a name cannot be looked up in all namespaces: give -n, or leave the name out")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a selection and turns it into text."""

    cluster: Cluster
    environment: Environment
    call: Invocation
    width: int

    def read(self, selection: Selection) -> list[dict[str, Any]]:
        """The documents, without managedFields, which nobody reads."""
        if selection.name is not None:
            agents = [dict(self.cluster.get_agent(selection.name))]
        else:
            agents = self.cluster.list_agents(all_namespaces=selection.all_namespaces)
        return [_without_managed_fields(agent) for agent in agents]

    def text(self, agents: list[dict[str, Any]], selection: Selection) -> Text:
        """What is printed."""
        if selection.output in {Output.JSON, Output.YAML}:
            return Text(_serialized(agents, selection))
        if selection.name is not None and selection.output is Output.TABLE:
            return agent_page(agents[0], self.environment.now(), self.call, self.width)
        if not agents:
            return Text(self._none(selection))
        return agent_table(
            agents,
            self.environment.now(),
            wide=selection.output is Output.WIDE,
            with_namespace=selection.all_namespaces,
        )

    def _none(self, selection: Selection) -> str:
        where = "any namespace" if selection.all_namespaces else f"namespace {self.cluster.namespace}"
        return f"no AgentDeployment in {where}"

    def watch(self, selection: Selection, terminal: Terminal) -> None:
        """Show the selection again whenever it changes, until Ctrl-C.

        Raises
        ------
        UnreachableError
            If the API server stays away for `PATIENCE_SECONDS`.
        """
        try:
            self._follow(selection, terminal)
        except KeyboardInterrupt:
            return

    def _follow(self, selection: Selection, terminal: Terminal) -> None:
        timing, shown = self.environment.timing, None
        answered = timing.monotonic()
        while True:
            try:
                agents = self.read(selection)
            except UnreachableError as error:
                if timing.monotonic() - answered > PATIENCE_SECONDS:
                    raise
                terminal.note(f"{error}; trying again")
            else:
                answered = timing.monotonic()
                if agents != shown or terminal.redraws:
                    terminal.replace(self.text(agents, selection))
                    shown = agents
            timing.sleep(WATCH_SECONDS)

    def history(self, name: str) -> Text:
        """The revisions of an agent.

        Raises
        ------
        AgentctlError
            If there is no such agent.
        """
        self.cluster.get_agent(name)
        records = self.cluster.list_revisions(name)
        if not records:
            return Text(f"{name} has no revision yet")
        return history_table(records, self.cluster.get_route(name), self.environment.now())


def _without_managed_fields(agent: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in agent["metadata"].items() if key != "managedFields"}
    return {**agent, "metadata": metadata}


def _serialized(agents: list[dict[str, Any]], selection: Selection) -> str:
    document = agents[0] if selection.name is not None else {"apiVersion": "v1", "kind": "List", "items": agents}
    if selection.output is Output.JSON:
        return json.dumps(document, indent=2)
    import yaml  # noqa: PLC0415 - 30 ms that only this output needs

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True)).rstrip()
