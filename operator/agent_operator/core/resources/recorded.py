"""Pod templates that are kept as they were made, so that only an explicit chart value makes them anew.

A template is kept on the Deployment that is made from it: whoever can change it there can run pods in any case.
"""

from __future__ import annotations

import json
from typing import Any

from agent_operator.core.drift import covers
from agent_operator.core.resources.metadata import Manifest

RECORD_ANNOTATION = "greylag.dev/template"
_VERSION, _TEMPLATE = "version", "template"
_OLD_VERSION_KEY, _OLD_TEMPLATE_KEY = "version", "template.json"


def with_record(deployment: Manifest, version: str) -> Manifest:
    """A Deployment that keeps its own pod template, and the chart value that it was made for."""
    record = {_VERSION: version, _TEMPLATE: deployment["spec"]["template"]}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    annotations = {**deployment["metadata"].get("annotations", {}), RECORD_ANNOTATION: text}
    return {**deployment, "metadata": {**deployment["metadata"], "annotations": annotations}}


def recorded_template(deployment: Manifest | None, version: str) -> Manifest | None:
    """Template that a live Deployment keeps for a chart value; None if it keeps none, or something else."""
    if deployment is None:
        return None
    text = deployment["metadata"].get("annotations", {}).get(RECORD_ANNOTATION)
    record = _parsed(text)
    return _template_of(record.get(_TEMPLATE)) if record.get(_VERSION) == version else None


def inherited_template(config_map: Manifest | None, deployment: Manifest | None, version: str) -> Manifest | None:
    """Template that an earlier release kept in a ConfigMap, if its pods run: nobody is believed who only wrote that."""
    if config_map is None or deployment is None:
        return None
    data = config_map.get("data")
    if not isinstance(data, dict) or data.get(_OLD_VERSION_KEY) != version:
        return None
    template = _template_of(_parsed(data.get(_OLD_TEMPLATE_KEY)))
    return template if template is not None and covers(deployment["spec"].get("template"), template) else None


def _parsed(text: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever an annotation holds
    try:
        parsed = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _template_of(value: Any) -> Manifest | None:  # noqa: ANN401 - JSON
    """A pod template, if the value is one as far as we read it."""
    spec = value.get("spec") if isinstance(value, dict) else None
    lists = [spec.get(part) for part in ("containers", "volumes")] if isinstance(spec, dict) else [None]
    whole = all(isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) for entries in lists)
    return value if whole else None
