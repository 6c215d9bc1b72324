"""What is wrong with a spec that the API server cannot see: a person mends it, the old revision serves meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import re2  # type: ignore[import-untyped]
from cel_expr_python import cel  # type: ignore[import-untyped]

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.model import ModelEndpoint
from agent_api.v1alpha1.tools import ToolRule, ToolSource
from agent_operator.core.key_set import key_set_fault
from agent_operator.core.open_api import open_api_fault
from agent_operator.core.revision import headers_of

MAX_SPEC_BYTES = 200 * 1024
MAX_RECORDED_TEXT_BYTES = 900 * 1024
MAX_EXTRA_BYTES = 16 * 1024
MAX_EXTRA_DEPTH = 8
MAX_AFFINITY_DEPTH = 16
MAX_QUOTED = 80

OUR_PARAMETERS: Mapping[str, str] = {
    "model": "model.name",
    "messages": "agent.instructions",
    "stream": "nothing: the runtime chooses",
    "stream_options": "nothing: the runtime chooses",
    "tools": "tools",
    "tool_choice": "toolPolicy",
    "functions": "tools",
    "function_call": "toolPolicy",
    "response_format": "response_format of the request",
    "temperature": "parameters.temperature",
    "top_p": "parameters.topP",
    "max_tokens": "parameters.maxOutputTokens",
    "max_completion_tokens": "parameters.maxOutputTokens",
    "max_output_tokens": "parameters.maxOutputTokens",
    "n": "nothing: a run has one answer",
    "best_of": "nothing: a run has one answer",
}
"""Parameters that `extra` must not name, and what says them instead."""

OUR_HEADERS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade", "host", "content-length", "content-type", "expect"),
        *("mcp-session-id", "mcp-protocol-version", "last-event-id", "traceparent", "tracestate", "baggage"),
    }
)
"""Headers in lower case that belong to the connection or to the runtime."""


@dataclass(frozen=True, slots=True)
class InvalidPart:
    """One field that must be mended: its path, and what is wrong with it together with the way out."""

    path: str
    message: str

    def __str__(self) -> str:
        """Write it as conditions show it."""
        return f"{self.path}: {self.message}"


def invalid_parts(
    spec: AgentDeploymentSpec, open_api: Mapping[str, str], instructions: str = ""
) -> tuple[InvalidPart, ...]:
    """Everything that is wrong with a spec, in the order of its fields; never raises.

    `open_api` maps names of sources of tools to their descriptions; a source that is not in it is not checked.
    """
    # A value that is nested too deep cannot be written down again, which the other checks do.
    return tuple(_depths(spec)) or tuple(
        chain(
            _size(spec),
            _recorded_size(open_api, instructions),
            *(_extra(path, entry) for path, entry in _endpoints(spec)),
            _time_zone(spec.budgets.time_zone),
            *(_source(f"spec.tools[{at}]", source, open_api) for at, source in enumerate(spec.tools)),
            *(_rule(f"spec.toolPolicy.rules[{at}]", rule) for at, rule in enumerate(spec.tool_policy.rules)),
            _patterns("spec.guards.input.blockedPatterns", spec.guards.input.blocked_patterns),
            _patterns("spec.guards.output.blockedPatterns", spec.guards.output.blocked_patterns),
            _key_set(spec),
        )
    )


def _depths(spec: AgentDeploymentSpec) -> Iterator[InvalidPart]:
    free = [(f"{path}.parameters.extra", entry.parameters.extra, MAX_EXTRA_DEPTH) for path, entry in _endpoints(spec)]
    for path, value, levels in (*free, ("spec.runtime.pod.affinity", spec.runtime.pod.affinity, MAX_AFFINITY_DEPTH)):
        if _deeper_than(value, levels):
            yield InvalidPart(path, f"is nested more than {levels} levels deep; make it flatter")


def _endpoints(spec: AgentDeploymentSpec) -> Iterator[tuple[str, ModelEndpoint]]:
    yield "spec.model", spec.model
    for at, entry in enumerate(spec.fallback):
        yield f"spec.fallback[{at}]", entry


def _size(spec: AgentDeploymentSpec) -> Iterator[InvalidPart]:
    size = len(spec.model_dump_json(by_alias=True, exclude_unset=True).encode())
    if size > MAX_SPEC_BYTES:
        way_out = "move long texts to ConfigMaps (agent.instructionsFrom, tools[].http.openAPI.configMapKeyRef)"
        yield InvalidPart("spec", f"has {size} bytes as JSON, at most {MAX_SPEC_BYTES} are allowed; {way_out}")


def _recorded_size(open_api: Mapping[str, str], instructions: str) -> Iterator[InvalidPart]:
    """A revision's record is one ConfigMap, which holds a MiB."""
    texts = (instructions, *open_api.values())
    size = sum(len(json.dumps(text, ensure_ascii=False).encode()) for text in texts)
    if size > MAX_RECORDED_TEXT_BYTES:
        message = (
            f"instructions and OpenAPI descriptions of ConfigMaps have {size} bytes as JSON, at most"
            f" {MAX_RECORDED_TEXT_BYTES} fit into a revision's record; shorten them, or give http.openAPI.url"
        )
        yield InvalidPart("spec.tools" if open_api else "spec.agent.instructionsFrom", message)


def _extra(path: str, entry: ModelEndpoint) -> Iterator[InvalidPart]:
    extra, at = entry.parameters.extra, f"{path}.parameters.extra"
    for name in sorted(extra.keys() & OUR_PARAMETERS.keys()):
        message = f"is not a further parameter; leave it out, it is set by {OUR_PARAMETERS[name]}"
        yield InvalidPart(f"{at}.{name}", message)
    size = len(json.dumps(extra).encode())
    if size > MAX_EXTRA_BYTES:
        yield InvalidPart(at, f"has {size} bytes as JSON, at most {MAX_EXTRA_BYTES} are allowed; leave some out")


def _deeper_than(value: Any, levels: int) -> bool:  # noqa: ANN401 - JSON
    layer = [value]
    for _ in range(levels + 1):
        layer = [child for node in layer for child in _children(node)]
        if not layer:
            return False
    return True


def _children(node: Any) -> Sequence[Any]:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else ()


def _time_zone(name: str) -> Iterator[InvalidPart]:
    if not _zone_exists(name):
        message = f"{name!r} is no time zone; write an IANA name such as UTC or Europe/Berlin, with its capital letters"
        yield InvalidPart("spec.budgets.timeZone", message)


@lru_cache(maxsize=256)
def _zone_exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A name such as `Europe` is a folder of the database, which is an OSError.
        return False
    return True


def _source(path: str, source: ToolSource, open_api: Mapping[str, str]) -> Iterator[InvalidPart]:
    kind = "mcp" if source.mcp is not None else "http"
    seen: set[str] = set()
    for at, header in enumerate(headers_of(source)):
        place, name = f"{path}.{kind}.headersFrom[{at}].name", header.name.lower()
        if name in OUR_HEADERS:
            yield InvalidPart(place, f"{header.name!r} belongs to the connection; leave it out")
        elif name in seen:
            yield InvalidPart(place, f"{header.name!r} is there twice, as capital letters do not count; leave one out")
        seen.add(name)
    text = open_api.get(source.name)
    if source.http is not None and text is not None:
        fault = open_api_fault(text, needs_server=source.http.base_url is None)
        if fault is not None:
            yield InvalidPart(f"{path}.http.openAPI.configMapKeyRef", fault)


def _rule(path: str, rule: ToolRule) -> Iterator[InvalidPart]:
    if rule.when is not None and (fault := condition_fault(rule.when)) is not None:
        yield InvalidPart(f"{path}.when", fault)
    prefixes = () if rule.paths is None else rule.paths.allowed_prefixes
    for at, prefix in enumerate(prefixes):
        if prefix in prefixes[:at]:
            message = f"{_quoted(prefix)} is there twice; leave one out"
            yield InvalidPart(f"{path}.paths.allowedPrefixes[{at}]", message)


@cache
def _environment() -> cel.Env:
    """Environment of conditions; the runtime evaluates them in the same."""
    return cel.NewEnv(
        variables={"args": cel.Type.Map(cel.Type.STRING, cel.Type.DYN), "tool": cel.Type.STRING}, extensions=()
    )


@lru_cache(maxsize=4096)
def condition_fault(expression: str) -> str | None:
    """What is wrong with a condition of a rule, and the way out; None if it compiles to a bool."""
    try:
        kind = _environment().compile(expression).return_type()
    except (RuntimeError, ValueError) as error:
        return (
            f"{_quoted(expression)} is no CEL expression over args and tool: {_compiler_message(error)}; write one"
            " such as args.path.startsWith('/workspace/')"
        )
    if kind == cel.Type.BOOL:
        return None
    compare = " == true" if kind == cel.Type.DYN else " == ..."
    return f"{_quoted(expression)} is of type {kind.name()}, not bool; compare it, such as <expression>{compare}"


def _compiler_message(error: Exception) -> str:
    """The first complaint of the compiler, on one line."""
    first = (str(error).splitlines() or ["unknown error"])[0]
    return first.removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ").replace("<input>:", "at ")[:240]


def _patterns(path: str, patterns: Sequence[str]) -> Iterator[InvalidPart]:
    for at, pattern in enumerate(patterns):
        fault = pattern_fault(pattern)
        if fault is not None:
            yield InvalidPart(f"{path}[{at}]", fault)


@lru_cache(maxsize=4096)
def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern of a guard, and the way out; None if RE2 compiles it."""
    try:
        re2.compile(pattern, _quiet())
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown error"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return f"{_quoted(pattern)} is no RE2 expression: {text[:120]}; RE2 has no look-around and no back-references"
    return None


@cache
def _quiet() -> Any:  # noqa: ANN401 - re2 has no types
    options = re2.Options()
    options.log_errors = False
    return options


def _key_set(spec: AgentDeploymentSpec) -> Iterator[InvalidPart]:
    jwt = spec.access.jwt
    fault = None if jwt is None else key_set_fault(jwt.jwks)
    if fault is not None:
        yield InvalidPart("spec.access.jwt.jwks", fault)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")
