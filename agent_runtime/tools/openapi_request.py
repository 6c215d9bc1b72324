"""Writes the arguments of a tool into the request of its operation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from agent_runtime.tools.openapi_description import BODY, Place
from agent_runtime.tools.source import ToolFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_runtime.tools.openapi_description import Operation, Parameter

_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent; the URL is encoded."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


def request_of(operation: Operation, base_url: str, arguments: Mapping[str, Any]) -> Request:
    """Make the request of a call.

    Raises
    ------
    ToolFailed
        If an argument cannot stand where it goes: one that climbs out of its path, or breaks a header.
    """
    given = [(p, arguments[p.argument]) for p in operation.parameters if arguments.get(p.argument) is not None]
    path = _path(operation.path, {p.name: value for p, value in given if p.place is Place.PATH})
    query = urlencode(
        [pair for p, value in given if p.place is Place.QUERY for pair in _query(p, value)], quote_via=quote
    )
    base = urlsplit(base_url)
    url = f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}{path}"
    joined = "&".join(part for part in (base.query, query) if part)
    headers = {p.name: _header(p, value) for p, value in given if p.place is Place.HEADER}
    return Request(operation.method, f"{url}?{joined}" if joined else url, headers, _body(operation, arguments))


def _path(template: str, values: Mapping[str, Any]) -> str:
    def fill(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise ToolFailed(f"argument for {match.group()} of the path is missing")
        text = _plain(values[match.group(1)])
        if not text or any(part.strip() in (".", "..") for part in re.split(r"[/\\]", text)):
            # Servers and proxies fold such parts away: the call would reach another operation.
            raise ToolFailed(f"argument for {match.group()} of the path must not be empty, '.' or '..'")
        return quote(text, safe="")

    # What the template itself holds is encoded; what is encoded already stays.
    parts = _PLACEHOLDER.split(template)
    filled = [quote(part, safe="/%:@!$&'()*+,;=~") for part in parts[::2]]
    values_in_order = [fill(match) for match in _PLACEHOLDER.finditer(template)]
    return "".join(text for pair in zip(filled, [*values_in_order, ""], strict=True) for text in pair)


def _query(parameter: Parameter, value: object) -> Iterator[tuple[str, str]]:
    if parameter.as_json:
        yield parameter.name, orjson.dumps(value).decode()
    elif isinstance(value, dict):
        for key, part in value.items():
            yield (f"{parameter.name}[{key}]" if parameter.deep else str(key)), _plain(part)
    elif isinstance(value, list) and parameter.explode:
        for item in value:
            yield parameter.name, _plain(item)
    else:
        yield parameter.name, _plain(value)


def _header(parameter: Parameter, value: object) -> str:
    text = _plain(value)
    if not _HEADER_VALUE.fullmatch(text):
        raise ToolFailed(f"argument {parameter.argument!r} must be printable ASCII on one line")
    return text


def _body(operation: Operation, arguments: Mapping[str, Any]) -> bytes | None:
    if not operation.has_body:
        return None
    if operation.body is None:
        return orjson.dumps(arguments[BODY]) if BODY in arguments else None
    fields = {name: value for name, value in arguments.items() if name in operation.body}
    return orjson.dumps(fields)


def _plain(value: object) -> str:
    """Write a value as OpenAPI's simple style does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_plain, value))
    if isinstance(value, dict):
        return ",".join(f"{key},{_plain(part)}" for key, part in value.items())
    return "" if value is None else str(value)
