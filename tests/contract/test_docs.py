"""What the docs name exists, and what they must name is there: commands, metrics, conditions, problems, values."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from agent_api.v1alpha1.access import Access, Jwt
from agent_gateway.envoy import problems
from agent_gateway.envoy.render_listener import render_listener
from agent_gateway.metrics import Metrics
from agent_operator.core.facts import FailureReason
from agent_operator.telemetry import Telemetry
from agent_runtime.core.events import Event
from agent_runtime.core.task_state import TaskState
from agent_runtime.errors import ProblemType
from agent_runtime.routes.wire import RunAnswer, RunRequest
from agent_runtime.telemetry.metrics import RuntimeMetrics
from agent_runtime.tools.toolbox import ToolOutcome
from agentctl.arguments import global_options_first
from agentctl.commands import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
HTTP_API = (ROOT / "docs/http-api.md").read_text(encoding="utf-8")
TOOLS = (ROOT / "docs/tools.md").read_text(encoding="utf-8")
RUNTIME = (ROOT / "docs/runtime.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"(?:agentctl|kubectl agent) (.+)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(text: str) -> Iterator[str]:
    return (match[1] for match in FENCE.finditer(text))


def _typed_lines() -> list[tuple[str, str]]:
    """Lines of code blocks, and code in running text, that call the program, each with its page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line.strip().removeprefix("$ ") for block in _blocks(text) for line in block.splitlines()]
        lines += CODE.findall(FENCE.sub("", text))
        found += [(_name(page), match[1]) for line in lines if (match := PROGRAM.fullmatch(line))]
    return found


def _section(heading: str, page: str = OPERATIONS) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _table(head: str, text: str) -> list[list[str]]:
    """Rows of the table whose head begins with a cell."""
    return list(_rows(text.partition(f"| {head} |")[2].partition("\n\n")[0]))


def _rows(text: str) -> Iterator[list[str]]:
    """Cells of the rows of tables, without their heads."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and not line.startswith("|---"):
            yield cells


@pytest.mark.parametrize(("page", "line"), _typed_lines())
def test_a_command_in_the_docs_is_one_that_the_program_takes(page, line):
    words = shlex.split(line, comments=True)
    group = typer.main.get_command(app)
    if words == ["..."]:
        return
    if len(words) == 1:
        assert words[0] in group.commands, page
        return
    context = group.make_context("agentctl", global_options_first(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


def test_the_docs_show_every_command():
    shown = {shlex.split(line, comments=True)[0] for _page, line in _typed_lines()}
    assert set(typer.main.get_command(app).commands) - {"version"} <= shown


def test_every_make_verb_in_the_docs_exists():
    verbs = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in _blocks(text) for line in block.splitlines()] + CODE.findall(FENCE.sub("", text))
        for line in lines:
            match = re.match(r"(?:[A-Z_]+=\S+ )*make ((?:[a-z-]+ ?)+)", line)
            assert match is None or set(match[1].split()) <= verbs, f"{_name(page)}: {line}"


def _exposed(registry: CollectorRegistry) -> set[tuple[str, frozenset[str]]]:
    """Name and labels of every metric of a registry, as Prometheus sees it."""
    collectors = registry._names_to_collectors
    types = re.findall(r"^# TYPE (\S+) ", generate_latest(registry).decode(), re.MULTILINE)
    return {(name, frozenset(collectors[name]._labelnames)) for name in types if not name.endswith("_created")}


def test_the_metrics_of_the_docs_are_those_of_the_code():
    registries = (Telemetry().registry, Metrics().registry, RuntimeMetrics("r", lambda: 0)._registry)
    exposed = {metric for registry in registries for metric in _exposed(registry)}
    rows = [cells for cells in _rows(_section("Metrics")) if cells[0].startswith("`")]
    documented = {(cells[0].strip("`"), frozenset(CODE.findall(cells[1]))) for cells in rows}
    assert documented == exposed
    assert len(rows) == len(documented)


def _operator_calls() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Name, literal positional and keyword texts of every call in the operator's sources."""
    for file in (ROOT / "operator/agent_operator").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                places = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                names = {key.arg: key.value.value for key in node.keywords if isinstance(key.value, ast.Constant)}
                yield node.func.id, places, names


def _told() -> tuple[set[str], set[str]]:
    """Types of conditions and reasons of conditions and Events that the operator writes."""
    types, reasons = set(), {reason.value for reason in FailureReason}
    for function, places, names in _operator_calls():
        if function in {"Problem", "Aspect"}:
            types.add(names.get("type", places[0] if places else ""))
            reasons.add(names.get("reason", places[1] if len(places) > 1 else ""))
        elif function == "Note":
            reasons.add(names.get("reason", ""))
    return types - {""}, {reason for reason in reasons if isinstance(reason, str)} - {""}


def test_the_troubleshooting_table_names_every_condition_and_reason():
    text = _section("Troubleshooting")
    shown = {word.partition("=")[0] for word in CODE.findall(text)}
    types, reasons = _told()
    assert "NameConflict" in types
    assert "RolloutStarted" in reasons
    ordinary = {"Progressing", "Reconciling", "Paused"}
    assert types - ordinary - shown == set()
    assert reasons - {"NotStalled", "NotPaused"} - shown == set()


def test_every_reason_in_the_troubleshooting_table_is_in_the_code():
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "operator/agent_operator").rglob("*.py"))
    answers = {"CommandDone", "CommandRefused", "CommandIgnored"}
    for cells in _rows(_section("Troubleshooting").partition("| what you see")[0]):
        for word in [*CODE.findall(cells[0]), *CODE.findall(cells[1])]:
            name = word.partition("=")[0]
            assert name in answers or f'"{name}"' in sources, name


def _gateway_problems() -> set[str]:
    direct = {problem.slug for problem in vars(problems).values() if isinstance(problem, problems.Problem)}
    listener = json.dumps(render_listener("a", 20000, "127.0.0.1", Path("/")))
    server = (ROOT / "agent_gateway/control/server.py").read_text(encoding="utf-8")
    own = {
        *re.findall(r"urn:greylag:problem:([a-z-]+)", listener),
        *re.findall(r'problem_document\("([a-z-]+)"', server),
    }
    return {*direct, problems.suspended("a").slug, *own}


def test_the_problems_of_the_docs_are_those_of_the_code():
    section = _section("Problems", HTTP_API)
    documented = {cells[0].strip("`"): cells[2] for cells in _rows(section) if not cells[0].endswith(":`")}
    runtime, gateway = {str(item) for item in ProblemType}, _gateway_problems()
    assert {slug for slug, source in documented.items() if "runtime" in source} == runtime
    assert {slug for slug, source in documented.items() if "gateway" in source} == gateway


@pytest.mark.parametrize(("head", "model"), [("field", RunRequest), ("field of the answer", RunAnswer)])
def test_the_fields_of_a_run_in_the_docs_are_those_of_the_code(head, model):
    rows = _table(head, _section("POST /agent/run", HTTP_API))
    documented = [name for cells in rows for name in CODE.findall(cells[0])]
    assert sorted(documented) == sorted(model.model_fields)


def test_the_events_of_the_docs_are_those_of_the_code():
    rows = _table("event", _section("Streams", HTTP_API))
    documented = {cells[0].strip("`"): {*CODE.findall(cells[1].partition(":")[0])} for cells in rows}
    members = [{field.name: field.default for field in fields(kind)} for kind in get_args(Event)]
    assert documented == {str(kind["type"]): set(kind) - {"type"} for kind in members}


def test_the_states_of_a_task_in_the_docs_are_those_of_the_code():
    line = next(line for line in _section("Tasks", HTTP_API).splitlines() if line.startswith("`status` is"))
    assert CODE.findall(line.partition(". ")[0])[1:] == [str(state) for state in TaskState]


def test_the_outcomes_of_tools_in_the_docs_are_those_of_the_code():
    rows = _table("`outcome`", _section("What becomes of a call", TOOLS))
    documented = {cells[0].strip("`"): cells[2].rstrip(" |") == "yes" for cells in rows}
    assert documented == {str(outcome): outcome.failure for outcome in ToolOutcome}


def test_the_tests_that_the_docs_name_exist():
    named = [path for path in CODE.findall(RUNTIME) if path.startswith("tests/")]
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def _paths(values: dict[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and key != "resources":
            yield from _paths(value, f"{path}.")
        else:
            yield path


def test_the_values_of_the_docs_are_those_of_the_chart():
    values = yaml.safe_load((ROOT / "charts/greylag/values.yaml").read_text(encoding="utf-8"))
    rows = [cells for cells in _rows(_section("Install")) if cells[0].startswith("`")]
    documented = [path for cells in rows for path in CODE.findall(cells[0])]
    assert sorted(documented) == sorted(_paths(values))


def _anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_page_is_reached_from_the_readme(page):
    start = ROOT / "README.md"
    seen, left = {start}, [start]
    while left:
        here = left.pop()
        for target in re.findall(r"\]\(([^)#\s]+\.md)", here.read_text(encoding="utf-8")):
            file = (here.parent / target).resolve()
            if file.exists() and file not in seen:
                seen.add(file)
                left.append(file)
    assert page in seen


SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
DENIALS = re.compile(r"no authentication|not authenticated|no authorization|never authenticated", re.IGNORECASE)


@pytest.mark.parametrize("field", sorted(field.alias for field in Access.model_fields.values()))
def test_security_says_how_each_kind_of_access_lets_callers_in(field: str) -> None:
    assert f"`{field}`" in SECURITY


@pytest.mark.parametrize("field", sorted(field.alias for field in Jwt.model_fields.values() if field.is_required()))
def test_security_says_what_of_a_token_is_checked(field: str) -> None:
    assert f"`{field}`" in SECURITY


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_page_denies_the_access_that_there_is(page: Path) -> None:
    assert not DENIALS.findall(page.read_text(encoding="utf-8"))
