"""The rules of the definition that the API server would check, for a file that never meets one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cel_expr_python import cel  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RULES = "x-kubernetes-validations"
LIST_TYPE = "x-kubernetes-list-type"
MAP_KEYS = "x-kubernetes-list-map-keys"


def broken_rules(schema: Mapping[str, Any], value: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Each rule that a value breaks, as `field: what is wrong`.

    `schema` is a JSON schema of pydantic; `value` has the defaults filled in, as it has when the API server looks.
    Rules that use functions of Kubernetes alone are left to Kubernetes.
    """
    return list(_Walk(schema).broken(schema, value, ""))


@dataclass(frozen=True, slots=True)
class _Walk:
    root: Mapping[str, Any]

    def broken(self, schema: Any, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - JSON
        schema = self._resolved(schema)
        for rule in schema.get(RULES, ()):
            if not _holds(rule["rule"], value):
                yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}".removeprefix(".").removeprefix(": ")
        for choice in schema.get("anyOf", ()):
            yield from self.broken(choice, value, path) if value is not None else ()
        if isinstance(value, dict):
            yield from self._in_object(schema, value, path)
        if isinstance(value, list):
            yield from _repeated(schema, value, path)
            for at, item in enumerate(value):
                yield from self.broken(schema.get("items", {}), item, f"{path}[{at}]")

    def _in_object(self, schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
        properties = schema.get("properties", {})
        for name, child in value.items():
            yield from self.broken(properties.get(name, {}), child, f"{path}.{name}" if path else name)

    def _resolved(self, schema: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if reference is None:
            return schema
        target = self.root["$defs"][reference.rpartition("/")[2]]
        return {**target, **{key: part for key, part in schema.items() if key != "$ref"}}


def _repeated(schema: Mapping[str, Any], value: list[Any], path: str) -> Iterator[str]:
    """Items that are there twice in a list that is a set, or a map by a key."""
    kind, keys = schema.get(LIST_TYPE), schema.get(MAP_KEYS, ())
    if kind not in {"map", "set"}:
        return
    seen: list[Any] = []
    for at, item in enumerate(value):
        identity = [item.get(key) for key in keys] if kind == "map" else item
        if identity in seen:
            yield f"{path}[{at}]: is there twice; leave one out"
        seen.append(identity)


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=())


@cache
def _compiled(rule: str) -> Any:  # noqa: ANN401 - the library has no types
    try:
        return _environment().compile(rule)
    except (RuntimeError, ValueError):
        return None


def _holds(rule: str, value: Any) -> bool:  # noqa: ANN401 - JSON
    expression = _compiled(rule)
    if expression is None:
        return True
    verdict = expression.eval(data={"self": value})
    # An error is a value as well, and its text would count as true: refuse what cannot be judged, as the API server.
    return verdict.type() == cel.Type.BOOL and bool(verdict.value())
