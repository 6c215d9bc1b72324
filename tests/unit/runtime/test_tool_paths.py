from __future__ import annotations

import posixpath
import string
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agent_runtime.core.paths import MAX_PATH_CHARACTERS, MAX_PATHS, is_safe_path, paths_hold

GROUPS = yaml.safe_load((Path(__file__).parents[2] / "data" / "attacks" / "paths.yaml").read_text(encoding="utf-8"))


def cases(kind):
    return [(group["prefixes"], argument) for group in GROUPS for argument in group[kind]]


def test_the_list_is_long_enough():
    assert len(cases("attacks")) >= 60
    assert len(cases("benign")) >= 30


@pytest.mark.parametrize(("prefixes", "argument"), cases("attacks"))
def test_an_attack_does_not_pass(prefixes, argument):
    assert not paths_hold(argument, prefixes)


@pytest.mark.parametrize(("prefixes", "argument"), cases("benign"))
def test_an_honest_path_passes(prefixes, argument):
    assert paths_hold(argument, prefixes)


def test_lengths_are_bounded():
    assert paths_hold("/workspace/" + "a" * (MAX_PATH_CHARACTERS - 11), ["/workspace"])
    assert not paths_hold("/workspace/" + "a" * MAX_PATH_CHARACTERS, ["/workspace"])
    assert paths_hold(["/workspace/a"] * MAX_PATHS, ["/workspace"])
    assert not paths_hold(["/workspace/a"] * (MAX_PATHS + 1), ["/workspace"])


PIECES = st.sampled_from(
    ["/", "..", ".", "workspace", "a", "%2e", "%2f", "%25", "%252e", "%5c", "\\", "\uff0e", "\uff0f", "\u2024",
     "\u2215", "\u200b", "\x00", " ", "~", "$HOME", "etc", "//", "...", ";", "%c0%ae", "\n", "\u2025"]
)  # fmt: skip
PATHS = st.lists(PIECES, max_size=12).map(lambda pieces: "/workspace/" + "".join(pieces))


def readings(path):
    """What tools make of a path: decoded never, once, twice or thrice, each with Unicode folded or not."""
    for _ in range(4):
        yield path
        yield unicodedata.normalize("NFKC", path)
        path = unquote(path)


@given(PATHS)
@example("/workspace/%25%32%65%25%32%65/x")
def test_what_passes_stays_below_the_prefix_in_every_reading(path):
    if is_safe_path(path, ["/workspace"]):
        for reading in readings(path):
            normal = posixpath.normpath(reading.replace("\\", "/"))
            assert normal == "/workspace" or normal.startswith("/workspace/")


def fold(text):
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


DISGUISES = st.sampled_from(
    [str, quote, lambda t: quote(t, safe=""), lambda t: "".join(f"%{b:02x}" for b in t.encode()), fold]
)


@given(
    st.lists(st.sampled_from(["a", "b.txt", "."]), max_size=3),
    st.integers(1, 4),
    st.lists(DISGUISES, max_size=3),
)
def test_a_climb_never_passes_in_any_disguise(folders, climbs, disguises):
    climb = "/".join([*folders, *[".."] * climbs, "etc/passwd"])
    for disguise in disguises:
        climb = disguise(climb)

    assert not is_safe_path(f"/workspace/{climb}", ["/workspace"])


@given(
    st.lists(
        st.text(string.ascii_letters + string.digits + "-_.äß漢", min_size=1).filter(lambda t: set(t) != {"."}),
        max_size=6,
    )
)
def test_plain_names_pass(names):
    names = [name.replace("..", "x") for name in names]

    assert is_safe_path("/".join(["/workspace", *names]), ["/workspace"])
