"""Tools out of an OpenAPI 3.0 or 3.1 description: one for each operation, its inputs in one flat object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import orjson
import yaml

from agent_runtime.tools.openapi_schema import DescriptionInvalid, References, SchemaReader, mapping
from agent_runtime.tools.source import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_DESCRIPTION_BYTES = 5 * 1024 * 1024
MAX_SCHEMA_BYTES = 64 * 1024
MAX_OPERATIONS = 1_000
MAX_NAME = 128
MAX_NODES = 1_000_000
BODY = "body"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_WITH_OWN_MEANING = frozenset(
    ("accept", "content-type", "authorization", "host", "cookie", "connection", "content-length")
)
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\b|(?:application|\*)/\*", re.IGNORECASE)
"""Types of bodies that may be JSON; Kubernetes says `*/*` of those that it takes."""

_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]+")


class Place(StrEnum):
    """Where an argument goes."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument outside of the body; `name` is that of the API, `argument` that of the tool."""

    argument: str
    name: str
    place: Place
    explode: bool
    deep: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API. `body` holds the arguments that make the JSON body; None if the whole body is one."""

    tool: Tool
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    body: frozenset[str] | None
    has_body: bool


@dataclass(frozen=True, slots=True)
class Description:
    """What can be called, and where; `server` is empty if the description names none."""

    server: str
    operations: tuple[Operation, ...]


def read_description(text: str, origin: str, complain: Callable[[str, str], None]) -> Description:
    """Read a description in JSON or YAML; `origin` is its URL, for servers that are relative to it.

    `complain` hears of operations that are left out, and why.

    Raises
    ------
    DescriptionInvalid
        If it is no OpenAPI 3 description.
    """
    document = _load(text)
    references = References(document)
    operations = []
    for path, method, shared, node in _operations(document, references):
        name = _tool_name(node, method, path)
        try:
            operations.append(
                _Builder(references).build(name, method, path, [*shared, *_listed(node.get("parameters"))], node)
            )
        except (DescriptionInvalid, RecursionError) as error:
            complain(name, str(error) or "its schema is nested too deeply")
        if len(operations) >= MAX_OPERATIONS:
            complain(name, f"the description has more than {MAX_OPERATIONS} operations")
            break
    return Description(_server(document, origin), tuple(operations))


def _load(text: str) -> dict[str, Any]:
    if len(text.encode(errors="replace")) > MAX_DESCRIPTION_BYTES:
        raise DescriptionInvalid(f"description is larger than {MAX_DESCRIPTION_BYTES} bytes")
    try:
        document = orjson.loads(text) if text.lstrip().startswith("{") else _plain_yaml(text)
    except DescriptionInvalid:
        raise
    except (orjson.JSONDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise DescriptionInvalid(f"description is neither JSON nor YAML ({type(error).__name__})") from None
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        raise DescriptionInvalid("description is not OpenAPI 3: it has no field openapi: 3.x")
    return document


def _plain_yaml(text: str) -> object:
    """Content of a YAML document as JSON would hold it: no dates, no keys but strings, no aliases that multiply."""
    document = yaml.load(text, yaml.CSafeLoader)
    nodes = [document]
    count = 0
    while nodes:
        node = nodes.pop()
        count += 1
        if count > MAX_NODES:
            raise DescriptionInvalid(f"description has more than {MAX_NODES} parts")
        if isinstance(node, dict | list):
            nodes.extend(node.values() if isinstance(node, dict) else node)
    return orjson.loads(orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS))


def _operations(
    document: Mapping[str, Any], references: References
) -> Iterator[tuple[str, str, list[Any], dict[str, Any]]]:
    for path, found in mapping(document.get("paths")).items():
        item = references.resolve(found)
        if not isinstance(item, dict):
            continue
        for method in _METHODS:
            if isinstance(item.get(method), dict):
                yield str(path), method, _listed(item.get("parameters")), item[method]


def _tool_name(node: Mapping[str, Any], method: str, path: str) -> str:
    named = node.get("operationId")
    if isinstance(named, str) and _UNUSUAL.sub("", named):
        return _UNUSUAL.sub("_", named)[:MAX_NAME]
    return f"{method}_{_UNUSUAL.sub('_', path).strip('_')}"[:MAX_NAME].strip("_")


def _listed(node: object) -> list[Any]:
    return node if isinstance(node, list) else []


def _server(document: Mapping[str, Any], origin: str) -> str:
    for server in _listed(document.get("servers")):
        if isinstance(server, dict) and isinstance(server.get("url"), str):
            url = str(server["url"])
            for name, variable in mapping(server.get("variables")).items():
                url = url.replace("{" + str(name) + "}", str(mapping(variable).get("default", "")))
            return urljoin(origin, url) if origin else url
    return urljoin(origin, "/") if origin else ""


class _Builder:
    """Makes one operation."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._schemas = SchemaReader(references)
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []
        self._parameters: dict[tuple[str, str], Parameter] = {}

    def build(self, name: str, method: str, path: str, parameters: list[Any], node: dict[str, Any]) -> Operation:
        # An operation's own parameter replaces the shared one of the same name and place.
        latest = {
            (str(p.get("name")), str(p.get("in"))): p
            for p in map(self._references.resolve, parameters)
            if isinstance(p, dict)
        }
        for parameter in latest.values():
            self._add_parameter(parameter)
        body, has_body = self._add_body(self._references.resolve(node.get("requestBody")))
        schema = {"type": "object", "properties": self._properties, "additionalProperties": False}
        if self._required:
            schema["required"] = self._required
        if len(orjson.dumps(schema, default=str)) > MAX_SCHEMA_BYTES:
            raise DescriptionInvalid(f"its schema is larger than {MAX_SCHEMA_BYTES} bytes")
        text = "\n".join(str(node[key]) for key in ("summary", "description") if node.get(key))
        tool = Tool(name, text or f"{method.upper()} {path}", schema)
        return Operation(tool, method.upper(), path, tuple(self._parameters.values()), body, has_body)

    def _add_parameter(self, node: dict[str, Any]) -> None:
        name, place, required = str(node.get("name", "")), node.get("in"), node.get("required") is True
        if place == "cookie" or (place == "header" and name.lower() in _WITH_OWN_MEANING):
            if required and place == "cookie":
                raise DescriptionInvalid(f"its cookie {name!r} is required, and no cookies are sent")
            return
        if place not in ("path", "query", "header") or not name:
            raise DescriptionInvalid(f"its parameter {name!r} is in {place!r}")
        content = mapping(node.get("content"))
        schema = mapping(next(iter(content.values()))).get("schema") if content else node.get("schema")
        argument = self._free_name(_UNUSUAL.sub("_", name), place)
        self._properties[argument] = self._described(self._schemas.read(schema), node)
        if required or place == "path":
            self._required.append(argument)
        explode = node.get("explode", place == "query") is True
        deep = node.get("style") == "deepObject"
        self._parameters[argument, place] = Parameter(argument, name, Place(place), explode, deep, bool(content))

    def _free_name(self, argument: str, place: str) -> str:
        return f"{argument}_{place}" if argument in self._properties else argument

    def _add_body(self, node: object) -> tuple[frozenset[str] | None, bool]:
        """Put the body's fields beside the parameters; as one argument if they do not fit there."""
        body = mapping(node)
        media = next((part for kind, part in mapping(body.get("content")).items() if _JSON.match(str(kind))), None)
        required = body.get("required") is True
        if not isinstance(media, dict):
            if required:
                raise DescriptionInvalid("its body is required and cannot be JSON")
            return frozenset(), False
        schema = self._schemas.read(media.get("schema"))
        properties = mapping(schema.get("properties"))
        if not self._fit_in(schema, properties):
            self._properties[BODY] = self._described(schema, body)
            self._required += [BODY] if required else []
            return None, True
        self._properties |= properties
        self._required += schema.get("required", []) if required else []
        return frozenset(properties), True

    def _fit_in(self, schema: dict[str, Any], properties: dict[str, Any]) -> bool:
        composed = any(key in schema for key in ("allOf", "anyOf", "oneOf"))
        plain = schema.get("type") == "object" and bool(properties) and not composed
        return plain and not (properties.keys() & self._properties.keys()) and not any(map(_UNUSUAL.search, properties))

    @staticmethod
    def _described(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
        text = node.get("description")
        return {**schema, "description": text} if isinstance(text, str) and "description" not in schema else schema
