"""The page about the architecture names the rooms in the order of the import contracts."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
FOLDERS = {package: ROOT / package for package in ("agent_gateway", "agentctl")}


def _rooms(package: str) -> list[str]:
    (layers,) = (entry["layers"] for entry in CONTRACTS if entry.get("containers") == [package])
    names = [name.strip() for layer in layers for name in layer.split("|")]
    return [name for name in names if (FOLDERS[package] / name).is_dir()]


def _paragraph(package: str) -> str:
    (found,) = (item for item in PAGE.split("\n- ") if item.startswith(f"`{package}` has rooms"))
    return found


@pytest.mark.parametrize("package", FOLDERS)
def test_every_folder_of_a_package_is_a_room_of_its_contract(package):
    folders = {folder.name for folder in FOLDERS[package].iterdir() if (folder / "__init__.py").exists()}
    assert folders == set(_rooms(package))


@pytest.mark.parametrize("package", FOLDERS)
def test_the_page_names_the_rooms_of_a_package_from_the_top_down(package):
    places = [_paragraph(package).index(f"`{room}`") for room in _rooms(package)]
    assert places == sorted(places)
