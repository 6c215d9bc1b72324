"""Measure the tests of both pure cores: plant one small fault at a time and see whether a test notices.

`python scripts/mutation.py [--sample N] [--seed N] [--jobs N] [MODULE ...]` plants faults in memory only; each mutant
is judged by the module's own tests in a forked child with a time limit. A sample is drawn by seed, so that a run
repeats. A MODULE is one such as `runtime.policy`, or a whole core: `operator`, `runtime`.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[1]
SOURCES = (REPOSITORY, REPOSITORY / "operator")
TIME_LIMIT = 120.0
"""Most seconds for a file of tests on the code as it is."""

LEAST_MUTANT_LIMIT, MUTANT_LIMIT_FACTOR = 10.0, 4.0
"""Seconds for a file of tests on a mutant: so many, and so many times what the module's tests take without a fault."""


@dataclass(frozen=True, slots=True)
class Core:
    """One pure core: its package, the folder of its tests, and the files of tests that judge each module."""

    package: str
    folder: Path
    tests: str
    tests_of: dict[str, tuple[str, ...]]


CORES = {
    "operator": Core(
        "agent_operator.core",
        REPOSITORY / "operator/agent_operator/core",
        "tests/unit/core",
        {
            **{
                f"engine.{name}": (
                    "test_rollout",
                    "test_rollout_again",
                    "test_rollout_verdicts",
                    "test_commands",
                    "test_rollout_machine",
                )
                for name in ("course", "first", "gates", "goal", "holds", "looks", "progress", "safety", "steps")
            },
            "engine.upkeep": ("test_rollout",),
            "routing": ("test_routing", "test_rollout", "test_rollout_again", "test_rollout_budget", "test_plan"),
            "commands": ("test_commands",),
            "judging": ("test_judging", "test_rollout_verdicts"),
            "reading": ("test_judging",),
            "units": ("test_units", "test_judging"),
            "counted_units": ("test_units",),
            "plan": ("test_plan",),
            "decide": ("test_decide", "test_plan", "test_status"),
            "drift": ("test_drift",),
            "pods": ("test_pods",),
            "revision": ("test_revision", "test_upgrade"),
            "status": ("test_status",),
        },
    ),
    "runtime": Core(
        "agent_runtime.core",
        REPOSITORY / "agent_runtime/core",
        "tests/unit/runtime",
        {
            "advice": ("test_advice",),
            "asked": ("test_asked",),
            "booking": ("test_booking",),
            "breaker": ("test_breaker",),
            "cache_keys": ("test_cache_keys",),
            "conversation_ids": ("test_conversations",),
            "conversations": ("test_conversations",),
            "days": ("test_days",),
            "detection": ("test_detectors", "test_redaction"),
            "detectors": ("test_detectors",),
            "faults": ("test_faults",),
            "globs": ("test_tool_policy",),
            "history": ("test_history",),
            "loop": ("test_loop", "test_agent_loop"),
            "messages": ("test_task_state",),
            "money": ("test_money", "test_pricing"),
            "normalising": ("test_guards",),
            "number_checks": ("test_number_checks",),
            "paths": ("test_tool_paths",),
            "policy": ("test_tool_policy",),
            "progress": ("test_task_state",),
            "redaction": ("test_redaction",),
            "retry": ("test_retry_decision",),
            "schema_steps": ("test_schema_steps",),
            "secret_checks": ("test_secret_checks",),
            "shell": ("test_tool_shell",),
            "shell_programs": ("test_shell_programs", "test_tool_shell"),
            "sql": ("test_tool_sql",),
            "sql_parser": ("test_sql_parser", "test_tool_sql"),
            "sql_tables": ("test_sql_tables", "test_tool_sql"),
            "sql_text": ("test_sql_text", "test_tool_sql"),
            "task_state": ("test_task_state",),
        },
    ),
}
_HEAVY = (
    *("pytest", "hypothesis", "hypothesis.stateful", "pydantic", "yaml", "re2"),
    *("cel_expr_python", "redis.asyncio", "opentelemetry.trace", "structlog", "sqlglot.dialects.postgres"),
    *("agent_api.v1alpha1.agent", "agent_api.runtime_document"),
)
"""Imported once, before the children are forked; nothing here may import a core."""

_QUICK = (
    *(part for name in ("schemathesis", "xdist", "anyio") for part in ("-p", f"no:{name}")),
    *("--assert=plain", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
"""A child starts without plugins that no test of a core needs, and without what explains a failure."""

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True, slots=True)
class Module:
    """A module of a core."""

    core: str
    name: str

    def __str__(self) -> str:
        """Write its name as it is given on the command line: both cores have modules of like names."""
        return f"{self.core}.{self.name}"

    @property
    def import_name(self) -> str:
        """Name by which the code under test imports it."""
        return f"{CORES[self.core].package}.{self.name}"

    @property
    def source(self) -> Path:
        """Its file."""
        return CORES[self.core].folder / f"{self.name.replace('.', '/')}.py"

    @property
    def tests(self) -> tuple[str, ...]:
        """Files of tests that judge it."""
        core = CORES[self.core]
        return tuple(f"{core.tests}/{test}.py" for test in core.tests_of[self.name])


MODULES = tuple(Module(core, name) for core, described in CORES.items() for name in described.tests_of)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted fault."""

    module: Module
    line: int
    what: str
    tree: ast.Module


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a mutated tree."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.module.import_name
        self._path = str(mutant.module.source)
        self._tree = mutant.tree

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim the one module."""
        del path, target
        return importlib.util.spec_from_loader(fullname, self, origin=self._path) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutated code as the module."""
        exec(compile(self._tree, self._path, "exec"), module.__dict__)  # noqa: S102 - our own code


def faults(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Replacements of one node, each with its description."""
    match node:
        case ast.Compare(ops=[operator, *_]):
            for other in _COMPARISONS[type(operator)]:
                yield f"{type(operator).__name__} -> {other.__name__}", _with(node, ops=[other(), *node.ops[1:]])
        case ast.Constant():
            yield from _other_constants(node.value)
        case ast.If() | ast.IfExp():
            yield "condition negated", _with(node, test=ast.UnaryOp(op=ast.Not(), operand=node.test))
        case ast.Return(value=ast.expr()) if not _is_none(node.value):
            yield "returns None", _with(node, value=ast.Constant(value=None))
        case ast.Dict(keys=[_, *_]):
            yield from _without_entries(node)
        case ast.expr():
            yield from _other_operators(node)
        case _:
            return


def _other_operators(node: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield f"-> {type(other).__name__}", _with(node, op=other)
        case ast.UnaryOp(op=ast.Not()):
            yield "not removed", node.operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield f"-> {_ARITHMETIC[type(node.op)].__name__}", _with(node, op=_ARITHMETIC[type(node.op)]())
        case _:
            return


def _other_constants(value: object) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, bool):
        yield f"{value} flipped", ast.Constant(value=not value)
    elif isinstance(value, int | float):
        yield f"{value} + 1", ast.Constant(value=value + 1)
    elif isinstance(value, str) and value:
        yield f"{value[:30]!r} changed", ast.Constant(value=f"{value}XX")


def _without_entries(node: ast.Dict) -> Iterator[tuple[str, ast.AST]]:
    for index, key in enumerate(node.keys):
        keys, values = list(node.keys), list(node.values)
        del keys[index], values[index]
        yield f"entry {'**' if key is None else ast.unparse(key)} removed", _with(node, keys=keys, values=values)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node that runs, with its parent, the field it is in, and the index there; no annotations, no docstrings."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list"} or isinstance(node, ast.JoinedStr | ast.Import):
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _is_docstring(child) or _is_for_types(child):
                continue
            yield node, name, index, child
            yield from _places(child)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_for_types(node: ast.AST) -> bool:
    """Whether a block holds imports that only a checker of types reads."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@dataclass(frozen=True, slots=True)
class _Fault:
    """What may be put in the place of a node."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    what: str
    replacement: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node

    def planted(self, module: Module, tree: ast.Module) -> Mutant:
        """The mutant; the tree stays as it was."""
        self.put(self.replacement)
        mutated = ast.fix_missing_locations(copy.deepcopy(tree))
        self.put(self.node)
        return Mutant(module, getattr(self.node, "lineno", 0), self.what, mutated)


def _faults_of(tree: ast.Module) -> list[_Fault]:
    """All faults of a module, in the order of its source."""
    return [
        _Fault(parent, field, index, node, what, replacement)
        for parent, field, index, node in list(_places(tree))
        for what, replacement in faults(node)
    ]


def survives(mutant: Mutant, limit: float) -> bool:
    """Whether no test of the module fails on the mutant, in time."""
    return all(_passes(test, limit, mutant) for test in mutant.module.tests)


def seconds_without_fault(module: Module) -> float | None:
    """How long the module's tests take on the code as it is; None if they do not pass."""
    begun = time.monotonic()
    passed = all(_passes(test, TIME_LIMIT) for test in module.tests)
    return time.monotonic() - begun if passed else None


def _passes(test: str, limit: float, mutant: Mutant | None = None) -> bool:
    """Run one file of tests in a forked child; a child that takes too long is stopped and counts as failed."""
    child = os.fork()
    if child == 0:
        _run_tests(test, mutant)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run_tests(test: str, mutant: Mutant | None) -> None:
    import pytest  # noqa: PLC0415 - imported by the parent already

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.dont_write_bytecode = True
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    arguments = ["-x", "-q", "--timeout", "60", *_QUICK, test]
    os._exit(int(pytest.main(arguments)))


def measure(module: Module, limit: float, options: argparse.Namespace) -> tuple[int, int, list[Mutant]]:
    """Mutants there are, mutants tried, and those that survived."""
    tree = ast.parse(module.source.read_text(encoding="utf-8"))
    everything = _faults_of(tree)
    chance = random.Random(f"{options.seed}:{module.name}")  # noqa: S311 - a repeatable sample
    chosen = everything if options.sample >= len(everything) else chance.sample(everything, options.sample)
    tried = [fault.planted(module, tree) for fault in chosen]
    with ThreadPoolExecutor(options.jobs) as pool:
        alive = list(pool.map(lambda mutant: survives(mutant, limit), tried))
    survivors = [mutant for mutant, survived in zip(tried, alive, strict=True) if survived]
    return len(everything), len(tried), sorted(survivors, key=lambda mutant: mutant.line)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=60, help="most mutants a module (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="children at a time (default 2)")
    names = [*CORES, *map(str, MODULES)]
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(names)} (default: all)")
    options = parser.parse_args()
    if unknown := set(options.modules).difference(names):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    """Print a line a module and the survivors; 1 if the tests do not pass on the code as it is."""
    options = _options()
    os.chdir(REPOSITORY)
    sys.path[:0] = map(str, SOURCES)
    for name in _HEAVY:
        importlib.import_module(name)
    tried_in_all = killed_in_all = 0
    for module in MODULES:
        if options.modules and not {str(module), module.core}.intersection(options.modules):
            continue
        seconds = seconds_without_fault(module)
        if seconds is None:
            print(f"{module}: its tests fail without any fault")
            return 1
        limit = LEAST_MUTANT_LIMIT + MUTANT_LIMIT_FACTOR * seconds
        there_are, tried, survivors = measure(module, limit, options)
        killed = tried - len(survivors)
        tried_in_all, killed_in_all = tried_in_all + tried, killed_in_all + killed
        print(f"{module}: {killed} of {tried} mutants killed ({100 * killed / tried:.0f} %); there are {there_are}")
        for mutant in survivors:
            print(f"  survived: {mutant.module}:{mutant.line}: {mutant.what}")
        sys.stdout.flush()
    print(f"all: {killed_in_all} of {tried_in_all} killed ({100 * killed_in_all / tried_in_all:.0f} %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
