"""Measure the tests of the operator's core: plant one small fault at a time and see whether a test notices.

`python scripts/mutation.py [--sample N] [--seed N] [--jobs N] [MODULE ...]` plants faults in memory only; each mutant
is judged by the module's own tests in a forked child with a time limit. A sample is drawn by seed, so that a run
repeats.
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
CORE = REPOSITORY / "operator/agent_operator/core"
TESTS = "tests/unit/core"
TIME_LIMIT = 120.0
TESTS_OF = {
    "rollout": ("test_rollout", "test_rollout_verdicts", "test_commands", "test_rollout_machine"),
    "routing": ("test_routing", "test_rollout", "test_plan"),
    "commands": ("test_commands",),
    "judging": ("test_judging", "test_rollout_verdicts"),
    "plan": ("test_plan",),
    "decide": ("test_decide", "test_plan", "test_status"),
    "drift": ("test_drift",),
    "pods": ("test_pods",),
    "revision": ("test_revision", "test_upgrade"),
    "status": ("test_status",),
}
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
class Mutant:
    """One planted fault."""

    module: str
    line: int
    what: str
    tree: ast.Module


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a mutated tree."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"agent_operator.core.{mutant.module}"
        self._path = str(CORE / f"{mutant.module}.py")
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
            if not isinstance(child, ast.AST) or _is_docstring(child):
                continue
            yield node, name, index, child
            yield from _places(child)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def mutants_of(module: str) -> list[Mutant]:
    """All mutants of a module, in the order of its source."""
    tree = ast.parse((CORE / f"{module}.py").read_text(encoding="utf-8"))
    found = []
    for parent, name, index, child in list(_places(tree)):
        for what, replacement in faults(child):
            _put(parent, name, index, replacement)
            mutated = ast.fix_missing_locations(copy.deepcopy(tree))
            _put(parent, name, index, child)
            found.append(Mutant(module, getattr(child, "lineno", 0), what, mutated))
    return found


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def survives(mutant: Mutant) -> bool:
    """Whether no test of the module fails on the mutant, in time."""
    return all(_passes(mutant, test) for test in TESTS_OF[mutant.module])


def _passes(mutant: Mutant | None, test: str) -> bool:
    """Run one file of tests in a forked child; a child that takes too long is stopped and counts as failed."""
    child = os.fork()
    if child == 0:
        _run_tests(mutant, test)
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run_tests(mutant: Mutant | None, test: str) -> None:
    import pytest  # noqa: PLC0415 - imported by the parent already

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "operator")]
    sys.dont_write_bytecode = True
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # the parent imported plugins to save time
    arguments = ["-x", "-q", "--timeout", "60", *quiet, f"{TESTS}/{test}.py"]
    os._exit(int(pytest.main(arguments)))


def measure(module: str, sample: int, seed: int, jobs: int) -> tuple[int, int, list[Mutant]]:
    """Mutants there are, mutants tried, and those that survived."""
    everything = mutants_of(module)
    chance = random.Random(f"{seed}:{module}")  # noqa: S311 - a repeatable sample
    tried = everything if sample >= len(everything) else chance.sample(everything, sample)
    with ThreadPoolExecutor(jobs) as pool:
        alive = list(pool.map(survives, tried))
    survivors = [mutant for mutant, survived in zip(tried, alive, strict=True) if survived]
    return len(everything), len(tried), sorted(survivors, key=lambda mutant: mutant.line)


def main() -> int:
    """Print a line a module and the survivors; 1 if the tests do not pass on the code as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=60, help="most mutants a module (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sample (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="children at a time (default 2)")
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TESTS_OF)} (default: all)")
    options = parser.parse_args()
    os.chdir(REPOSITORY)
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "operator")]
    for name in ("pytest", "hypothesis", "hypothesis.stateful", "pydantic", "yaml", "agent_api.v1alpha1.agent"):
        importlib.import_module(name)
    tried_in_all = killed_in_all = 0
    for module in options.modules or list(TESTS_OF):
        if not all(_passes(None, test) for test in TESTS_OF[module]):
            print(f"{module}: its tests fail without any fault")
            return 1
        there_are, tried, survivors = measure(module, options.sample, options.seed, options.jobs)
        killed = tried - len(survivors)
        tried_in_all, killed_in_all = tried_in_all + tried, killed_in_all + killed
        print(f"{module}: {killed} of {tried} mutants killed ({100 * killed / tried:.0f} %); there are {there_are}")
        for mutant in survivors:
            print(f"  survived: {mutant.module}.py:{mutant.line}: {mutant.what}")
        sys.stdout.flush()
    print(f"all: {killed_in_all} of {tried_in_all} killed ({100 * killed_in_all / tried_in_all:.0f} %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
