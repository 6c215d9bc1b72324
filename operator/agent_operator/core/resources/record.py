"""The immutable ConfigMap that is the record of a revision."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from agent_api.runtime_document import DOCUMENT_KEY, RuntimeDocument
from agent_operator.core.names import revision_labels
from agent_operator.core.resources.metadata import Manifest, make_metadata
from agent_operator.core.resources.workload import read_overlay
from agent_operator.core.revision import Record

TEMPLATE_KEY = "template.json"
OVERLAY_KEY = "overlay.json"


class RecordUnreadableError(ValueError):
    """A ConfigMap is not the record of a revision."""


def make_record(record: Record, overlay: Manifest, agent: str, namespace: str, owner: Manifest) -> Manifest:
    """ConfigMap that keeps a revision: document, pod template, and the overlay it began with."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": make_metadata(record.name, namespace, revision_labels(agent, record.name), owner),
        "immutable": True,
        "data": {
            DOCUMENT_KEY: record.document.model_dump_json(by_alias=True),
            TEMPLATE_KEY: _compact(record.template),
            OVERLAY_KEY: _compact(overlay),
        },
    }


def remake_record(seen: Manifest, agent: str, namespace: str, owner: Manifest) -> Manifest:
    """ConfigMap of a revision again, with the content that it had."""
    name = seen["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": make_metadata(name, namespace, revision_labels(agent, name), owner),
        "immutable": True,
        "data": dict(seen["data"]),
    }


def read_record(config_map: dict[str, Any]) -> Record:
    """Read a revision back from its ConfigMap.

    Raises
    ------
    RecordUnreadableError
        If the content is not what `make_record` writes.
    """
    name = config_map["metadata"]["name"]
    try:
        data = config_map["data"]
        document = RuntimeDocument.model_validate_json(data[DOCUMENT_KEY], extra="ignore")
        template = json.loads(data[TEMPLATE_KEY])
        whole = _is_template(template) and read_overlay(data[OVERLAY_KEY]) is not None
    except (KeyError, IndexError, TypeError, ValidationError, RecursionError, json.JSONDecodeError) as error:
        raise RecordUnreadableError(f"ConfigMap {name} is not the record of a revision") from error
    if not whole:
        raise RecordUnreadableError(f"ConfigMap {name} is not the whole record of a revision")
    return Record(name=name, document=document, template=template)


def _is_template(template: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether an overlay can be laid over it."""
    pod = template["spec"]
    container = pod["containers"][0]
    parts = (pod["volumes"], container["env"], container["volumeMounts"])
    return all(isinstance(part, list) and all(isinstance(entry, dict) for entry in part) for part in parts)


def is_record(config_map: dict[str, Any]) -> bool:
    """Whether a ConfigMap is the record of a revision: one made by hand may be anything."""
    try:
        read_record(config_map)
    except RecordUnreadableError:
        return False
    return True


def read_first_overlay(config_map: dict[str, Any]) -> Manifest:
    """Overlay that a revision began with, of a record that `read_record` reads."""
    overlay: Manifest = json.loads(config_map["data"][OVERLAY_KEY])
    return overlay


def _compact(content: Manifest) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
