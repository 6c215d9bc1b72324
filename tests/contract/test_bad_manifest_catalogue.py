"""The catalogue of bad manifests covers every field of the spec; that each is refused is an integration test."""

import re

import pytest

from agent_api.reference import field_rows
from tests.support.catalogue import CATALOGUE

TOUCHED = {re.sub(r"\[[0-9]+\]", "[]", entry.get("set") or entry["remove"]) for entry in CATALOGUE["bad"]}
NAMED = " ".join(re.sub(r"\[[0-9]+\]", "[]", entry["refused"]) for entry in CATALOGUE["bad"])
PATHS = [row.path for row in field_rows("spec") if not row.path.startswith("fallback[].")]


def _is_tried(path: str) -> bool:
    return any(place == path or place.startswith((f"{path}.", f"{path}[]")) for place in TOUCHED) or path in NAMED


@pytest.mark.parametrize("path", PATHS)
def test_field_has_a_bad_manifest(path):
    assert _is_tried(f"spec.{path}")


def test_entries_of_fallback_are_tried_like_the_model():
    assert _is_tried("spec.fallback[].name")


def test_no_entry_is_there_twice():
    entries = [repr(entry) for entry in CATALOGUE["bad"]]
    assert len(entries) == len(set(entries)) >= 340
