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


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/workspace", True),
        ("/workspace/./a//b/", True),
        ("/other/a", True),
        ("/workspace2", False),
        ("/work", False),
        ("/", False),
        ("", False),
        ("workspace/a", False),
        ("//workspace/a", False),
        ("/workspace/../a", False),
        ("/workspace/a../..b/c..d", True),
        ("/workspace/.../a", False),
        ("/workspace/ ../a", False),
        ("/workspace/.?/a", False),
        ("/workspace/a b (1), c; d", True),
        ("/workspace/50%", True),
        ("/workspace/a&b", True),
        ("/workspace/a~", True),
        ("/workspace/a$", True),
        ("/workspace/a#b;", True),
    ],
)
def test_a_path_is_safe_below_a_prefix_and_nowhere_else(path, safe):
    assert is_safe_path(path, ["/workspace", "/other"]) is safe


@pytest.mark.parametrize(
    "name",
    ["a\\b", "`a`", "a|b", "$HOME", "${HOME}", "$(id)", "$[1]", "$'a'", '$"a"', "%HOME%", "%u002e", "&amp;", "&#46;",
     "~", "~root", " ~", "0x2e0x2e", "0X2E.", "a0x2f0x2e.", "a0x5c..", "\u2216", "\u29f5", "\u2215..", "\u3002.",
     "\u22c5.",
     "%c0%ae", "%ff", "%00", "%e2%80%8b", "\x1f", "\u00ad", "\ud800", "\ue000", "\u0378", "\u2028", "\u2029"],
)  # fmt: skip
def test_a_name_that_some_reader_takes_for_something_else_is_refused(name):
    assert is_safe_path(f"/workspace/{name}", ["/workspace"]) is False


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (".*", False),
        (".?", False),
        (".**", False),
        (".[.]", False),
        (".[!a]", False),
        (".{.,a}", False),
        ("{.,a}.", False),
        ("{..,a}", False),
        ("{a,..}", False),
        (".{a,}?", False),
        ("*", True),
        ("?a", True),
        ("*.txt", True),
        (".a*", True),
        (".[.]a", True),
        ("[.]", True),
        ("{a,b}", True),
        (".{a,b}", True),
    ],
)
def test_a_pattern_is_refused_if_a_shell_may_find_the_parent_by_it(name, safe):
    assert is_safe_path(f"/workspace/{name}/x", ["/workspace"]) is safe


@pytest.mark.parametrize(
    "folder", ["proc", "sys", "dev", "etc", "boot", "run", "var/run", "private/etc", "private/var/run"]
)
def test_folders_of_the_kernel_are_never_allowed(folder):
    for path in (f"/{folder}", f"/{folder}/x", f"/{folder.upper()}/x", f"/{folder}./x", f"/{folder} /x"):
        for prefix in ("/", f"/{folder}", f"/{folder}/x"):
            assert not is_safe_path(path, [prefix])
    assert is_safe_path(f"/workspace/{folder}", ["/"])
    assert is_safe_path(f"/{folder}x", [f"/{folder}x"])


@pytest.mark.parametrize(
    "folder",
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "root", "var", "private", "opt", "snap"],
)
def test_folders_of_the_system_are_allowed_only_by_a_prefix_within_them(folder):
    assert not is_safe_path(f"/{folder}/x/y", ["/"])
    assert not is_safe_path(f"/{folder}", ["/"])
    assert not is_safe_path(f"/{folder.upper()}/x", ["/"])
    assert is_safe_path(f"/{folder}/x/y", [f"/{folder}/x"])
    assert is_safe_path(f"/{folder}x/y", ["/"])


@pytest.mark.parametrize(("times", "safe"), [(0, True), (3, True), (4, False)])
def test_a_path_that_must_be_decoded_again_and_again_is_refused(times, safe):
    path = "/workspace/a b"
    for _ in range(times):
        path = quote(path)
    assert is_safe_path(path, ["/workspace"]) is safe


@pytest.mark.parametrize("argument", [[], ["/workspace/a", 3], ["/workspace/a", "/etc"], 3, None, {"/workspace": 1}])
def test_what_is_no_path_and_no_list_of_safe_ones_does_not_hold(argument):
    assert paths_hold(argument, ["/workspace"]) is False


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
