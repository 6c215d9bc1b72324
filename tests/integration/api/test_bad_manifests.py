"""The API server refuses each bad manifest of the catalogue and names the field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent_api.v1alpha1.agent import AgentDeployment
from tests.support.catalogue import CATALOGUE, changed

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSALS = {400, 422}


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
    answer = dry_run(changed(CATALOGUE["base"], entry))
    assert answer.status in REFUSALS, answer
    assert entry["refused"] in answer.message
