"""`GET /docs`: the API as a page for people, made of the OpenAPI description, with nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Description = Mapping[str, Any]

DOCS_PATH = "/docs"
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}
_LIMITS = {
    "minLength": "from {} characters",
    "maxLength": "up to {} characters",
    "minimum": "from {:g}",
    "maximum": "up to {:g}",
    "minItems": "from {} items",
    "maxItems": "up to {} items",
    "pattern": "pattern {}",
}
_NO_DEFAULT: tuple[object, ...] = (None, "", [], {})
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: light-dark(#0b57a4, #7ab8ff) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem } h3 { margin: 1.2rem 0 .3rem; font-size: 1rem }
a { color: var(--link) } code, pre, .method { font-family: ui-monospace, monospace; font-size: .9em }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .5rem .8rem }
summary { cursor: pointer } .method { display: inline-block; min-width: 4.5em; font-weight: bold }
.what { display: block; padding-left: 1.1em; opacity: .8 } .needed { font-size: .8em; font-style: italic }
table { border-collapse: collapse; width: 100% } pre { background: var(--soft); padding: .6rem; overflow: auto }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top }
td:last-child { width: 50%; overflow-wrap: anywhere }
"""


def pages_router(title: str, describe: Callable[[], dict[str, Any]]) -> APIRouter:
    """Route of the page; `describe` gives the OpenAPI description of the whole application."""
    router = APIRouter()

    @router.get(DOCS_PATH, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(api_page(title, describe()), headers=_HEADERS)

    return router


def api_page(title: str, description: Description) -> str:
    """The whole page; every text of the description is escaped."""
    operations = "".join(_operations(description))
    types = "".join(_type(name, schema) for name, schema in sorted(_definitions(description).items()))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1><p>The same for programs: <a href=openapi.json>openapi.json</a>.</p>"
        f"<h2>Endpoints</h2>{operations}<h2>Types</h2>{types}</html>\n"
    )


def _operations(description: Description) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield (
                f"<details><summary><span class=method>{escape(method.upper())}</span> <code>{escape(path)}</code>"
                f"<span class=what>{_prose(operation.get('description') or operation.get('summary', ''))}</span>"
                f"</summary>{_example(method, path, operation)}{_parameters(operation)}{_body(operation)}"
                f"{''.join(_answers(operation))}</details>"
            )


def _example(method: str, path: str, operation: Description) -> str:
    """Something to type."""
    schema = _content(operation.get("requestBody", {}))
    command = f"curl http://HOST{path}" if method == "get" else f"curl -X {method.upper()} http://HOST{path}"
    if schema:
        needed = ", ".join(f'"{name}": ...' for name in schema.get("required", ())) or "..."
        command += f" -H 'content-type: application/json' -d '{{{needed}}}'"
    return f"<pre>{escape(command)}</pre>"


def _parameters(operation: Description) -> str:
    rows = [
        _row(f"{item['name']} ({item['in']})", {**item["schema"], **item}, needed=item.get("required", False))
        for item in operation.get("parameters", ())
    ]
    return f"<h3>Parameters</h3>{_table(rows)}" if rows else ""


def _body(operation: Description) -> str:
    schema = _content(operation.get("requestBody", {}))
    return f"<h3>Body</h3>{_shape(schema)}" if schema else ""


def _answers(operation: Description) -> Iterator[str]:
    for status, answer in operation.get("responses", {}).items():
        kinds = ", ".join(answer.get("content", {})) or "no body"
        yield f"<h3>Answer {escape(status)} ({escape(kinds)})</h3>{_shape(_content(answer))}"


def _content(part: Description) -> dict[str, Any]:
    schema: dict[str, Any] = part.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _shape(schema: Description) -> str:
    """A type by its fields; one that has a name of its own is only named."""
    fields = schema.get("properties", {})
    if not fields:
        return f"<p>{_kind(schema)}</p>" if schema else ""
    needed = schema.get("required", ())
    return _table([_row(name, field, needed=name in needed) for name, field in fields.items()])


def _type(name: str, schema: Description) -> str:
    what = _prose(schema.get("description", "").partition("\n")[0])
    head = f"<summary><code>{escape(name)}</code><span class=what>{what}</span></summary>"
    return f"<details id='{escape(name)}'>{head}{_shape(schema) or _kind(schema)}</details>"


def _table(rows: list[str]) -> str:
    return f"<table>{''.join(rows)}</table>"


def _row(name: str, schema: Description, *, needed: bool) -> str:
    mark = " <span class=needed>required</span>" if needed else ""
    notes = [_prose(schema.get("description", ""))]
    notes += [escape(", ".join(text.format(schema[key]) for key, text in _LIMITS.items() if key in schema))]
    default = schema.get("default")
    notes += [] if default in _NO_DEFAULT else [f"default {_value(default)}"]
    return f"<tr><td><code>{escape(name)}</code>{mark}<td>{_kind(schema)}<td>{'<br>'.join(filter(None, notes))}"


def _kind(schema: Description) -> str:
    """Type of a value in a few words; named types link to theirs."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(map(_kind, choices))
    if "enum" in schema:
        return " or ".join(map(_value, schema["enum"]))
    if "const" in schema:
        return _value(schema["const"])
    kind = schema.get("type", "anything")
    return f"list of {_kind(schema.get('items', {}))}" if kind == "array" else escape(str(kind))


def _prose(text: str) -> str:
    """Text in which what stands between backticks is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _value(value: object) -> str:
    return f"<code>{escape(json.dumps(value))}</code>"


def _definitions(description: Description) -> dict[str, Description]:
    """Types with a name: those that all share, and those inside bodies."""
    found = dict(description.get("components", {}).get("schemas", {}))
    for methods in description["paths"].values():
        for operation in methods.values():
            found |= _content(operation.get("requestBody", {})).get("$defs", {})
    return found
