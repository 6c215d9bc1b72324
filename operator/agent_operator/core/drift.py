"""Whether a live object is what its manifest asks for, so that nothing is written that is there already."""

from __future__ import annotations

from typing import Any


def covers(live: Any, desired: Any) -> bool:  # noqa: ANN401 - JSON has no narrower type
    """Whether every value of `desired` stands in `live`; what others added beside it does not count."""
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(_covers_key(live, key, value) for key, value in desired.items())
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return False
        return all(covers(have, want) for have, want in zip(live, desired, strict=True))
    return bool(live == desired)


def _covers_key(live: dict[str, Any], key: str, value: Any) -> bool:  # noqa: ANN401 - JSON
    """An empty value that the API server drops equals an absent one."""
    if key not in live:
        return value in ({}, [], "", None)
    return covers(live[key], value)


def projection(live: Any, desired: Any) -> Any:  # noqa: ANN401 - JSON
    """The part of `live` that `desired` speaks of: how the API server writes our own values."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return {key: projection(live[key], value) for key, value in desired.items() if key in live}
    if isinstance(desired, list) and isinstance(live, list) and len(live) == len(desired):
        return [projection(have, want) for have, want in zip(live, desired, strict=True)]
    return live


def fingerprint_source(manifest: dict[str, Any]) -> dict[str, Any]:
    """The part of a manifest whose change must be applied, even one that only removes fields; replicas go apart."""
    spec = manifest.get("spec")
    if manifest.get("kind") != "Deployment" or not isinstance(spec, dict):
        return manifest
    return {**manifest, "spec": {key: value for key, value in spec.items() if key != "replicas"}}
