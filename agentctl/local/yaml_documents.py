"""Reads a YAML file that somebody else may have written: bounded in size, depth and what its aliases stand for."""

from __future__ import annotations

import errno
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agentctl.errors import ManifestError

if TYPE_CHECKING:
    from typing import BinaryIO

STANDARD_INPUT = Path("-")
MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 200_000
_MERGE = "<<"


class _Loader(yaml.CSafeLoader):
    """Plain data only, and no key twice: of two the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as the base
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != _MERGE]
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0][:80]!r} is there twice; leave one out", node.start_mark
            )
        return super().construct_mapping(node, deep)


def source_name(path: Path) -> str:
    """What errors call a file."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Documents of a file that are mappings; the members of a `kind: List` are documents of their own.

    `-` is standard input.

    Raises
    ------
    ManifestError
        If the file cannot be read, is no YAML or too large in any way; no text of the file is repeated but keys.
    """
    content = _read(path)
    try:
        _check_depth(content)
        documents = list(yaml.load_all(content, _Loader))
        _check_size(documents)
    except Exception as error:  # noqa: BLE001 - a scalar of YAML raises whatever the type that its tag names raises
        raise ManifestError(f"{source_name(path)}: cannot be read as YAML: {_explain(error)}") from None
    found = [document for document in documents if isinstance(document, dict)]
    return [member for document in found for member in _members(document)]


def _read(path: Path) -> bytes:
    try:
        with _opened(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        cause = f"{source_name(path)}: {error.strerror}"
        raise ManifestError(f"{cause}; name a YAML file with an AgentDeployment") from None
    if len(content) > MAX_FILE_BYTES:
        too_large = f"{source_name(path)}: larger than {MAX_FILE_BYTES} bytes"
        raise ManifestError(f"{too_large}; leave out what the agent does not name")
    return content


def _opened(path: Path) -> BinaryIO:
    if path != STANDARD_INPUT:
        return path.open("rb")
    if sys.stdin is None:
        raise OSError(errno.EBADF, "is closed")
    # Left open: the next file that is opened would take its number.
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _members(document: dict[str, Any]) -> list[dict[str, Any]]:
    items = document.get("items")
    if document.get("kind") != "List" or not isinstance(items, list):
        return [document]
    return [item for item in items if isinstance(item, dict)]


def _check_depth(content: bytes) -> None:
    """Refuse deep nesting before it is loaded, for which the C loader would use up the stack."""
    depth = 0
    for event in yaml.parse(content, yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep; make it flatter")


def _check_size(documents: list[Any]) -> None:
    """Refuse aliases that stand for very much, or for themselves."""
    nodes, count = list(documents), 0
    while nodes:
        node = nodes.pop()
        count += 1
        if count > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} parts with its aliases written out; use fewer aliases")
        if isinstance(node, dict | list):
            nodes.extend(node.values() if isinstance(node, dict) else node)


def _explain(error: Exception) -> str:
    """The cause on one line, without the text around it, which may be a secret."""
    mark = getattr(error, "problem_mark", None)
    cause = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).partition("\n")[0][:200]
    return cause if mark is None else f"{cause}, line {mark.line + 1}"
