"""Whether two revisions do the same, though their specs are written otherwise: `300s` and `5m`, `2.50` and `2.5`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.resources.record import RecordUnreadableError, read_record
from agent_operator.core.revision import Record

_NAME = "@"


def equal_revision(wanted: Record, records: Mapping[str, Manifest], names: Iterable[str]) -> str | None:
    """Name of the first recorded revision, in the order of `names`, that does what `wanted` does; None if none does."""
    content = _content(wanted)
    for name in names:
        manifest = records.get(name)
        if manifest is None:
            continue
        try:
            known = read_record(manifest)
        except RecordUnreadableError:
            continue
        if _content(known) == content:
            return name
    return None


def renamed(record: Record, name: str) -> Record:
    """The same record under another name."""
    template = json.loads(json.dumps(record.template).replace(f'"{record.name}"', f'"{name}"'))
    return Record(name, record.document.model_copy(update={"revision": name}), template)


def _content(record: Record) -> tuple[str, Any]:
    nameless = renamed(record, _NAME)
    return nameless.document.model_dump_json(by_alias=True), _with_amounts(nameless.template)


def _with_amounts(template: Manifest) -> Manifest:
    """A pod template whose requests and limits are numbers, so that `500m` is `0.5`."""
    containers = template.get("spec", {}).get("containers", ())
    return {**template, "spec": {**template.get("spec", {}), "containers": [_container(c) for c in containers]}}


def _container(container: Manifest) -> Manifest:
    resources = container.get("resources", {})
    amounts = {kind: {name: _amount(text) for name, text in wanted.items()} for kind, wanted in resources.items()}
    return {**container, "resources": amounts}


def _amount(text: Any) -> Any:  # noqa: ANN401 - JSON
    try:
        return parse_quantity(text)  # type: ignore[no-untyped-call]
    except ValueError:
        return text
