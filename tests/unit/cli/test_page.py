"""The page of one agent, by golden texts: every state that a person meets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from rich.console import Console

from agentctl.errors import AgentctlError
from agentctl.rollout.guidance import Invocation
from agentctl.rollout.page import agent_page

if TYPE_CHECKING:
    from collections.abc import Callable

STATES = Path(__file__).parent / "states"
NAMES = sorted(path.stem for path in STATES.glob("*.yaml"))
NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
CALL = Invocation("kubectl agent", " -n team-a")
LONG = "a" + "-long" * 10 + "-name1"


@pytest.mark.parametrize("name", NAMES)
def test_page_reads_as_agreed(name: str) -> None:
    document = yaml.safe_load((STATES / f"{name}.yaml").read_text())
    assert agent_page(document, NOW, CALL).plain + "\n" == (STATES / f"{name}.txt").read_text()


def test_there_is_a_golden_text_for_every_state_that_matters() -> None:
    assert len(NAMES) >= 16


def test_long_names_are_neither_cut_nor_wrapped_at_80_columns(state: Callable[[str], dict[str, Any]]) -> None:
    document = state("analyzing")
    document["status"]["canaryRevision"] = LONG
    document["status"]["message"] = f"step 3/5: the new revision of this agent, named {LONG}, waits for the analysis"
    text = agent_page(document, NOW, CALL, width=80).plain
    assert sum(LONG in line for line in text.splitlines()) == 3
    assert LONG[:-1] + "\n" not in text


def test_messages_are_wrapped_within_the_width(state: Callable[[str], dict[str, Any]]) -> None:
    document = state("healthy")
    document["status"]["message"] = "word " * 60
    text = agent_page(document, NOW, CALL, width=60).plain
    assert max(len(line) for line in text.splitlines() if "word" in line) <= 60


def test_control_characters_of_a_message_do_not_reach_the_terminal(
    state: Callable[[str], dict[str, Any]],
) -> None:
    document = state("rolled-back")
    document["status"]["lastRollback"]["message"] = "bad \x1b[2J\x07 answer"
    assert "\x1b" not in agent_page(document, NOW, CALL).plain
    assert "\x07" not in agent_page(document, NOW, CALL).plain


def test_fields_of_a_newer_operator_are_passed_over(state: Callable[[str], dict[str, Any]]) -> None:
    document = state("healthy")
    document["status"]["forecast"] = {"tomorrowUSD": "1"}
    document["spec"]["budgets"] = {"weekly": {"costUSD": "1"}}
    assert "Healthy" in agent_page(document, NOW, CALL).plain


def test_a_value_that_is_not_understood_is_named(state: Callable[[str], dict[str, Any]]) -> None:
    document = state("healthy")
    document["status"]["phase"] = "Dreaming"
    with pytest.raises(AgentctlError, match=r"does not understand status\.phase of support"):
        agent_page(document, NOW, CALL)


def test_colour_is_written_only_to_a_terminal(state: Callable[[str], dict[str, Any]]) -> None:
    page = agent_page(state("healthy"), NOW, CALL)
    for is_terminal in (True, False):
        console = Console(force_terminal=is_terminal, color_system="standard" if is_terminal else "auto")
        with console.capture() as capture:
            console.print(page, soft_wrap=True)
        assert ("\x1b[" in capture.get()) is is_terminal
