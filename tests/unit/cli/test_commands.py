"""Command lines against a cluster in memory: exit codes, waiting, what is printed where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentctl.arguments import global_options_first, parse_timeout
from agentctl.cluster.client import Target
from agentctl.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

VERBS = ("promote", "promote-full", "abort", "retry", "undo")


def answering(result: str, message: str = "so it is") -> Callable[[dict[str, Any], str], None]:
    """An operator that answers every command at once."""

    def act(agent: dict[str, Any], command: str) -> None:
        verb, _, identity = command.partition("@")
        answer = {"id": identity, "verb": verb, "result": result, "message": message}
        agent.setdefault("status", {})["observedCommand"] = answer

    return act


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_done_ends_with_0_and_the_message(agentctl, cluster, state, verb) -> None:
    cluster.agents["support"] = state("pause-step")
    cluster.operator = answering("Done", "step 5/5 is passed")
    outcome = agentctl(verb, "support")
    assert (outcome.code, outcome.out) == (0, f"support: {verb} done: step 5/5 is passed\n")
    assert cluster.commands[0].startswith(f"{verb}@")


@pytest.mark.parametrize("result", ["Refused", "Ignored"])
def test_a_verb_that_is_not_run_ends_with_3_and_says_what_to_type(agentctl, cluster, state, result) -> None:
    cluster.agents["support"] = state("rolled-back")
    cluster.operator = answering(result, "nothing is being rolled out")
    outcome = agentctl("promote", "support")
    assert outcome.code == 3
    assert f"promote {result.lower()}: nothing is being rolled out" in outcome.err
    assert "`agentctl retry support`" in outcome.err
    assert outcome.out == ""


def test_a_verb_that_is_not_answered_ends_with_4_at_the_timeout(agentctl, cluster, clock, state) -> None:
    cluster.agents["support"] = state("healthy")
    outcome = agentctl("abort", "support", "--timeout", "10s")
    assert outcome.code == 4
    assert 10 <= clock.passed <= 11
    assert "is it running? Look: kubectl get pods -A -l" in outcome.err


def test_an_old_answer_is_not_taken_for_the_new_one(agentctl, cluster, state) -> None:
    cluster.agents["support"] = state("commanded")
    assert agentctl("promote", "support", "--timeout", "5").code == 4


def test_an_answer_is_waited_for_while_the_api_server_is_away(agentctl, cluster, clock, state, unreachable) -> None:
    cluster.agents["support"] = state("pause-step")
    cluster.failures = [unreachable, unreachable]
    clock.on_sleep = [
        lambda: None,
        lambda: answering("Done")(cluster.agents["support"], cluster.commands[0]),
    ]
    assert agentctl("promote", "support").code == 0


def test_a_command_that_was_replaced_ends_with_1(agentctl, cluster, state) -> None:
    def replace(agent: dict[str, Any], _command: str) -> None:
        agent["metadata"]["annotations"]["greylag.dev/command"] = "abort@other"

    cluster.agents["support"] = state("pause-step")
    cluster.operator = replace
    outcome = agentctl("promote", "support")
    assert outcome.code == 1
    assert "was replaced by abort@other" in outcome.err


def test_no_wait_returns_once_the_command_is_sent(agentctl, cluster, clock, state) -> None:
    cluster.agents["support"] = state("pause-step")
    assert agentctl("promote", "support", "--no-wait").code == 0
    assert len(cluster.commands) == 1
    assert clock.passed == 0


def test_ids_of_commands_are_short_unique_and_sort_by_time(agentctl, cluster, clock, state) -> None:
    cluster.agents["support"] = state("pause-step")
    for _ in range(20):
        agentctl("promote", "support", "--no-wait")
        clock.passed += 0.002
    ids = [command.partition("@")[2] for command in cluster.commands]
    assert ids == sorted(set(ids))
    assert {len(identity) for identity in ids} == {12}


def test_a_senseless_timeout_sends_no_command(agentctl, cluster, state) -> None:
    cluster.agents["support"] = state("pause-step")
    assert agentctl("promote", "support", "--timeout", "soon").code == 2
    assert cluster.commands == []


def test_a_wrong_name_is_answered_with_the_nearest(agentctl, cluster, state) -> None:
    cluster.agents["support"] = state("healthy")
    outcome = agentctl("get", "suport")
    assert outcome.code == 1
    assert outcome.err == ("error: there is no AgentDeployment suport in namespace team-a; did you mean support?\n")


def test_get_shows_a_table_of_this_namespace_or_of_all(agentctl, cluster, state) -> None:
    cluster.agents = {"support": state("healthy"), "sales": state("rolled-back")}
    cluster.agents["sales"]["metadata"] |= {"name": "sales", "namespace": "team-b"}
    assert "sales" not in agentctl("get").out
    everywhere = agentctl("get", "-A").out
    assert "NAMESPACE" in everywhere
    assert "team-b" in everywhere


def test_get_of_one_is_a_page_without_colour(agentctl, cluster, state) -> None:
    cluster.agents["support"] = state("pause-step")
    out = agentctl("get", "support", "-n", "team-a").out
    assert "agentctl promote support -n team-a" in out
    assert "\x1b" not in out


def test_get_of_nothing_says_so(agentctl) -> None:
    outcome = agentctl("get")
    assert (outcome.code, outcome.out) == (0, "no AgentDeployment in namespace team-a\n")


@pytest.mark.parametrize(("output", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_get_writes_documents_without_managed_fields(agentctl, cluster, state, output, parse) -> None:
    cluster.agents["support"] = state("healthy")
    cluster.agents["support"]["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    assert parse(agentctl("get", "support", "-o", output).out) == state("healthy")
    assert parse(agentctl("get", "-o", output).out)["items"] == [state("healthy")]


def test_a_name_in_all_namespaces_is_refused(agentctl) -> None:
    assert agentctl("get", "support", "-A").code == 1


def test_watch_shows_each_change_once_and_ends_with_ctrl_c(agentctl, cluster, clock, state) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def roll_back() -> None:
        cluster.agents["support"] = state("rolled-back")

    cluster.agents["support"] = state("analyzing")
    clock.on_sleep = [lambda: None, roll_back, lambda: None, interrupt]
    outcome = agentctl("get", "support", "--watch")
    assert outcome.code == 0
    assert outcome.out.count("team-a/support   Progressing") == 1
    assert outcome.out.count("team-a/support   Degraded") == 1


def test_watch_gives_up_when_the_api_server_stays_away(agentctl, cluster, clock, state, unreachable) -> None:
    cluster.agents["support"] = state("analyzing")
    cluster.failures = [unreachable] * 500
    assert agentctl("get", "support", "--watch").code == 1
    assert 120 <= clock.passed <= 130


def test_history_of_an_agent_without_revisions_says_so(agentctl, cluster, state) -> None:
    cluster.agents["support"] = state("new")
    assert agentctl("history", "support").out == "support has no revision yet\n"


def test_an_api_error_is_one_line_on_standard_error(agentctl, cluster) -> None:
    cluster.failures = [ApiError("missing permission: get agentdeployments.greylag.dev in namespace team-a")]
    outcome = agentctl("get", "support")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("command", ["", "get", "history", *VERBS])
def test_every_help_has_an_example_or_points_to_one(agentctl, command) -> None:
    outcome = agentctl(*filter(None, [command]), "--help")
    assert outcome.code == 0
    assert f"agentctl {command or 'get'}" in outcome.out.partition("Options:")[0 if command else 2]


@pytest.mark.parametrize(
    "line",
    [
        "-n b --context c get support",
        "get -n b support --context c",
        "get support --namespace=b --context=c",
        "get support -nb --context c",
    ],
)
def test_global_options_may_stand_anywhere(agentctl, cluster, state, line) -> None:
    cluster.agents["support"] = state("healthy")
    assert agentctl(*line.split()).code == 0
    assert cluster.target == Target(None, "c", "b")


def test_what_follows_two_dashes_is_left_alone() -> None:
    assert global_options_first(["get", "--", "-n", "x"]) == ["get", "--", "-n", "x"]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("1m30s", 90.0)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert parse_timeout(text) == seconds


def test_suggestions_repeat_the_options_so_that_a_shell_reads_them(agentctl, cluster, state) -> None:
    cluster.agents["support"] = state("pause-step")
    out = agentctl("get", "support", "--kubeconfig", "my files/config", "--context", "prod").out
    assert "agentctl promote support --kubeconfig 'my files/config' --context prod\n" in out
