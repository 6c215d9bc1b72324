"""The tools that a model is told of: their names on the wire, their schemas, and whose they are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson
import structlog

from agent_runtime.core.globs import any_glob_matches
from agent_runtime.core.loop import ToolSpec
from agent_runtime.tools.source import MAX_DESCRIPTION_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_runtime.tools.guarded import GuardedSource
    from agent_runtime.tools.source import Tool

MAX_WIRE_NAME = 64
MAX_SCHEMA_BYTES = 64 * 1024
_DIGEST_CHARACTERS = 8
_NOT_ON_THE_WIRE = re.compile(r"[^A-Za-z0-9_-]")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_log = structlog.get_logger("agent_runtime")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool that may be called."""

    spec: ToolSpec
    tool: Tool
    source: GuardedSource
    validator: Any

    def wrong_arguments(self, arguments: dict[str, Any]) -> str | None:
        """What the tool's schema says against arguments; None if nothing."""
        try:
            error = next(self.validator.iter_errors(arguments), None)
        except ValueError as unreadable:
            return str(unreadable)
        if error is None:
            return None
        place = "/".join(str(part) for part in error.instance_path)
        return f"{place or 'arguments'}: {error.message}"


class Catalogue:
    """Tools of all sources, made again when a source has listed others."""

    def __init__(
        self,
        sources: Sequence[GuardedSource],
        idempotent: Mapping[str, Sequence[str]],
        may_allow: Callable[[str], bool],
    ) -> None:
        self._sources = sources
        self._idempotent = idempotent
        self._may_allow = may_allow
        self._seen: tuple[tuple[Tool, ...], ...] = ()
        self._entries: dict[str, Entry] = {}
        self._specs: tuple[ToolSpec, ...] = ()

    def specs(self) -> tuple[ToolSpec, ...]:
        """All tools, in the order of their sources and names: a model's cache of prompts lives on sameness."""
        self._look()
        return self._specs

    def find(self, wire_name: str) -> Entry | None:
        """The tool of a name on the wire."""
        self._look()
        return self._entries.get(wire_name)

    def _look(self) -> None:
        listed = tuple(source.tools() for source in self._sources)
        if len(listed) == len(self._seen) and all(new is old for new, old in zip(listed, self._seen, strict=True)):
            return
        entries = [
            entry
            for source, tools in zip(self._sources, listed, strict=True)
            for tool in sorted(tools, key=lambda tool: tool.name)
            if (entry := self._entry(source, tool)) is not None
        ]
        self._entries = {entry.spec.wire_name: entry for entry in entries}
        self._specs = tuple(entry.spec for entry in self._entries.values())
        self._seen = listed

    def _entry(self, source: GuardedSource, tool: Tool) -> Entry | None:
        name = f"{source.name}.{tool.name}"
        if not self._may_allow(name):
            return None
        try:
            parameters = _object_schema(tool.parameters)
            validator = _validator(parameters)
        except (ValueError, TypeError, RecursionError) as error:
            _log.warning("tool is left out", source=source.name, tool=tool.name, cause=type(error).__name__)
            return None
        spec = ToolSpec(
            name,
            wire_name(source.name, tool.name),
            _INVISIBLE.sub("", tool.description)[:MAX_DESCRIPTION_CHARACTERS],
            parameters,
            idempotent=any_glob_matches(self._idempotent.get(source.name, ()), tool.name),
        )
        return Entry(spec, tool, source, validator)


def wire_name(source: str, tool: str) -> str:
    """Name of a tool as model protocols allow it: <source>__<tool>, with a digest where that is not exact."""
    plain = f"{source}__{tool}"
    safe = _NOT_ON_THE_WIRE.sub("_", plain)
    if safe == plain and len(safe) <= MAX_WIRE_NAME:
        return safe
    digest = hashlib.sha256(plain.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{safe[: MAX_WIRE_NAME - _DIGEST_CHARACTERS - 1]}_{digest}"


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, bounded in size, and of an object as model protocols demand."""
    if len(orjson.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise ValueError("schema is too large")
    if schema.get("type", "object") != "object":
        raise ValueError("schema is not that of an object")
    return {"properties": {}, **schema, "type": "object"}


def _validator(schema: dict[str, Any]) -> Any:  # noqa: ANN401 - the library names one class for each draft
    return jsonschema_rs.validator_for(
        schema,
        # A schema comes from a server: it fetches nothing, and no pattern of it takes long.
        offline=True,
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1_000_000),
    )
