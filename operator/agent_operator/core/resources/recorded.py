"""Pod templates that are kept as they were made, so that only an explicit chart value makes them anew."""

from __future__ import annotations

import json
from typing import Any

from agent_operator.core.resources.metadata import Manifest

TEMPLATE_KEY = "template.json"
VERSION_KEY = "version"


def make_template_record(metadata: Manifest, template: Manifest, version: str) -> Manifest:
    """ConfigMap that keeps a pod template and the chart value that it was made for."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    data = {VERSION_KEY: version, TEMPLATE_KEY: text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def recorded_template(record: dict[str, Any]) -> Manifest:
    """Pod template that a record keeps."""
    template: Manifest = json.loads(record["data"][TEMPLATE_KEY])
    return template


def is_of_version(record: dict[str, Any] | None, version: str) -> bool:
    """Whether a record is there, and was made for a chart value."""
    return record is not None and record.get("data", {}).get(VERSION_KEY) == version
