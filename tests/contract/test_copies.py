"""Copies of models name fields of models: pydantic itself takes any name, and then changes nothing."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import agent_api
from agent_api.meta import ApiModel

ROOT = Path(__file__).parents[2]
FOLDERS = ("agent_api", "agent_gateway", "agent_runtime", "agentctl", "operator", "benchmarks", "demo", "tests")


def _models(kind: type[ApiModel]) -> Iterator[type[ApiModel]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _models(child)


def _fields() -> set[str]:
    for module in pkgutil.walk_packages(agent_api.__path__, "agent_api."):
        import_module(module.name)
    return {name for model in _models(ApiModel) for name in model.model_fields}


def _copied(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "model_copy":
            for update in (keyword.value for keyword in node.keywords if keyword.arg == "update"):
                keys = update.keys if isinstance(update, ast.Dict) else []
                yield from ((node.lineno, key.value) for key in keys if isinstance(key, ast.Constant))


def test_every_name_that_a_copy_changes_is_a_field_of_a_model():
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    copied = [(file, *found) for file in files for found in _copied(ast.parse(file.read_text(encoding="utf-8")))]
    fields = _fields()
    assert len(copied) > 50
    assert [f"{file}:{line}: {name}" for file, line, name in copied if name not in fields] == []
