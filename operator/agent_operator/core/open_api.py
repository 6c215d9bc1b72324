"""What an OpenAPI description must be before pods are given it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import yaml

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
MAX_DEPTH = 100
MAX_NODES = 500_000
_REMEMBERED = 32


@lru_cache(maxsize=_REMEMBERED)
def open_api_fault(text: str, *, needs_server: bool) -> str | None:
    """What is wrong with a description, and the way out; None if it can be used.

    `needs_server`: nothing else says where the API is called, so that the description must.
    """
    try:
        description = _parsed(text)
    except Exception as error:  # noqa: BLE001 - a scalar of YAML raises whatever the type that its tag names raises
        return (
            f"the description cannot be read as JSON or YAML: {_first_line(error)}; check it with a linter of OpenAPI"
        )
    if not isinstance(description, dict):
        return "the description is no object; put a whole OpenAPI 3 document there"
    version = str(description.get("openapi", ""))
    if not version.startswith("3."):
        known = "is Swagger 2" if "swagger" in description else f"says openapi: {version[:20]!r}"
        return f"the description {known}; convert it to OpenAPI 3, whose field `openapi` begins with 3."
    if not _has_operation(description.get("paths")):
        return "the description has no operation; its `paths` must have at least one method such as get or post"
    if needs_server and not _first_server(description).startswith(("http://", "https://")):
        return "the description names no server by an absolute URL; set http.baseURL"
    return None


def _parsed(text: str) -> Any:  # noqa: ANN401 - JSON
    """Parse JSON as such, which is many times faster than as the YAML that it also is."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            # A flow mapping of YAML begins with a brace, too.
            pass
    _check_shape(text)
    return yaml.load(text, yaml.CSafeLoader)


def _check_shape(text: str) -> None:
    """Refuse what would take the process down when it is loaded: nesting overflows the stack of the C loader.

    Raises
    ------
    ValueError
        If the text is nested too deep, or its aliases stand for too much.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        size = 0
        match event:
            case yaml.CollectionStartEvent():
                open_nodes.append((event.anchor, 1))
            case yaml.CollectionEndEvent():
                anchor, size = open_nodes.pop()
                sizes |= {anchor: size} if anchor else {}
            case yaml.ScalarEvent():
                size = 1
                sizes |= {event.anchor: size} if event.anchor else {}
            case yaml.AliasEvent():
                # Of a node that is still open nothing is known: it would contain itself.
                size = sizes.get(str(event.anchor), MAX_NODES + 1)
            case _:
                continue
        parent, count = open_nodes[-1]
        open_nodes[-1] = (parent, count + size)
        if len(open_nodes) > MAX_DEPTH or count + size > MAX_NODES:
            raise ValueError(
                f"more than {MAX_DEPTH} levels deep, or more than {MAX_NODES} nodes with aliases written out"
            )


def _has_operation(paths: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(paths, dict):
        return False
    items = (item for item in paths.values() if isinstance(item, dict))
    return any(isinstance(item.get(method), dict) for item in items for method in METHODS)


def _first_server(description: dict[Any, Any]) -> str:
    servers = description.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    return str(first.get("url", "")) if isinstance(first, dict) else ""


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or (lines[0] if lines else type(error).__name__))
    return problem[:120] if mark is None else f"{problem[:120]}, line {mark.line + 1}"
