"""Attacks on paths that others wrote, and honest names of files from others."""

from __future__ import annotations

import pytest

from agent_runtime.core.paths import is_safe_path
from tests.integration.attacks.corpora import path_attacks, system_files
from tests.integration.attacks.path_oracle import escapes

ROLES = ("{}", "/workspace/{}", "/workspace{}", "/workspace/a{}", "/workspace/reports/{}", "/workspace/reports/{}.txt")
MIN_ATTACKS = 1_000
MIN_HONEST = 1_000


@pytest.fixture(scope="module")
def attacks(packages):
    return path_attacks(packages)


def test_there_are_enough_attacks(attacks):
    assert len(attacks) >= MIN_ATTACKS


@pytest.mark.parametrize("role", ROLES)
def test_no_path_that_passes_leads_out_of_its_folder(attacks, role):
    passed = [path for path in (role.replace("{}", attack) for attack in attacks) if is_safe_path(path, ["/workspace"])]
    assert [path for path in passed if escapes(path, "/workspace")] == []


def test_an_attack_never_passes_as_it_is(attacks):
    assert [attack for attack in attacks if is_safe_path(attack, ["/workspace"])] == []


def test_the_root_as_a_folder_means_no_folder_of_the_system(attacks):
    passed = [attack for attack in attacks if is_safe_path(attack, ["/"])]
    assert [path for path in passed if escapes(path, "")] == []


def test_honest_names_below_the_folder_pass(packages):
    honest = [f"/workspace{name}" for name in system_files(packages) if "\\" not in name]
    assert len(honest) >= MIN_HONEST
    assert [path for path in honest if not is_safe_path(path, ["/workspace"])] == []


@pytest.mark.parametrize(
    "path",
    [
        "/workspace/../etc/passwd",
        "/workspace/%2e%2e/x",
        "/workspace/%252e%252e/x",
        "/workspace/..%c0%afx",
        "/workspace/\uff0e\uff0e/x",
        "/workspace/..\\x",
        "/workspace/.?/x",
        "/workspace/..0x2fx",
        "/workspaces/x",
        "/etc/passwd",
    ],
)
def test_the_oracle_knows_a_path_that_leads_out(path):
    assert escapes(path, "/workspace")
