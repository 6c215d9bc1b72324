"""The API server refuses each bad manifest of the catalogue and names the field."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agent_api.v1alpha1.agent import AgentDeployment

if TYPE_CHECKING:
    from collections.abc import Callable

CATALOGUE = yaml.safe_load((Path(__file__).parents[2] / "data" / "bad_manifests.yaml").read_text(encoding="utf-8"))
REFUSALS = {400, 422}


def _path(text: str) -> list[str | int]:
    """Parts of `spec.fallback[0].name`: names and indices."""
    return [int(index) if index else name for name, index in re.findall(r"([A-Za-z][A-Za-z0-9_]*)|\[([0-9]+)\]", text)]


def _changed(base: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Copy the accepted manifest with the one change of an entry."""
    manifest: Any = copy.deepcopy(base)
    *parents, last = _path(entry.get("set") or entry["remove"])
    node = manifest
    for part in parents:
        node = node[part]
    if "remove" in entry:
        del node[last]
    elif "repeat" in entry:
        piece, times = entry["repeat"]
        node[last] = piece * times if isinstance(piece, str | list) else [piece] * times
    elif "numbered" in entry:
        node[last] = {f"p{number}": number for number in range(entry["numbered"])}
    else:
        node[last] = entry["value"]
    result: dict[str, Any] = manifest
    return result


def _title(entry: dict[str, Any]) -> str:
    what = f"{entry['set']}={entry.get('value', 'long')}" if "set" in entry else f"without {entry['remove']}"
    return what[:80].encode("unicode_escape").decode()


def test_base_of_the_catalogue_is_accepted_and_parsed(dry_run: Callable[[dict[str, Any]], Any]) -> None:
    answer = dry_run(CATALOGUE["base"])
    assert answer.status == 201, answer.message
    assert AgentDeployment.model_validate(answer.stored).spec == AgentDeployment.model_validate(CATALOGUE["base"]).spec


@pytest.mark.parametrize("entry", CATALOGUE["bad"], ids=_title)
def test_bad_manifest_is_refused_by_the_name_of_its_field(
    entry: dict[str, Any], dry_run: Callable[[dict[str, Any]], Any]
) -> None:
    answer = dry_run(_changed(CATALOGUE["base"], entry))
    assert answer.status in REFUSALS, answer
    assert entry["refused"] in answer.message
