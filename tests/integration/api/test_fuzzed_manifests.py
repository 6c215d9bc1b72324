"""Whatever the API server lets through, the models can read: no manifest reaches the operator that it cannot parse."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_api.change_kinds import behaviour_of
from agent_api.v1alpha1.agent import AgentDeployment

BASE = yaml.safe_load((Path(__file__).parents[2] / "data" / "bad_manifests.yaml").read_text(encoding="utf-8"))["base"]
REFUSALS = {400, 422}

Location = tuple[str | int, ...]

TRICKY_TEXTS = (
    *(
        "",
        " ",
        "\n",
        "\x00",
        "\u00a0",
        "\u2028",
        "é",
        "語",
        "😀",
        "null",
        "true",
        "0",
        "-0",
        "1e3",
        "0x10",
        "+1",
        "1_000",
    ),
    *(
        "0s",
        "0.0000001s",
        "1h1h",
        "5m\n",
        "9999999999h",
        "1.5",
        ".5",
        "1.",
        "1e99",
        "1Ki",
        "100m",
        "٣",
        "a..b",
        "-a",
        "a-",
    ),
    *(
        "http://a",
        "http://[::1]:80/",
        "http://a:99999",
        "https://a/%zz",
        "http://a?b",
        "a/b",
        "..",
        "...",
        ".a",
        "GREYLAG_A",
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.sampled_from([-1, 0, 1, 2, 100, 101, 2**31, 2**63, 1e20, 0.5, 1.0, -0.0]),
    st.sampled_from(TRICKY_TEXTS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
TRICKY_VALUES = (None, True, -1, 1.0, 2**63, 1e20, [None], {}, {"a": None})
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abnAB./- ", max_size=6), inner, max_size=3),
)


def _locations(node: Any, at: Location = ()) -> list[Location]:
    """Every place below the node, parents before children."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = [] if not at else [at]
    for key, child in children:
        found += _locations(child, (*at, key))
    return found


LOCATIONS = [
    location
    for location in _locations(BASE)
    if location[0] == "spec" and len(location) > 1 and "podAntiAffinity" not in location[:-1]
]


@st.composite
def _near_texts(draw: st.DrawFn, original: str) -> str:
    """The accepted text with one character changed, added or taken away."""
    position = draw(st.integers(0, len(original)))
    piece = draw(st.sampled_from(["", "0", "9", ".", "-", "_", "/", ":", "@", "#", "m", "E", " ", "\n", "\x7f", "é"]))
    return original[:position] + piece + original[position + draw(st.integers(0, 1)) :]


@st.composite
def _mutations(draw: st.DrawFn) -> dict[str, Any]:
    """The accepted manifest with one to three mutations."""
    manifest: dict[str, Any] = copy.deepcopy(BASE)
    for location in draw(st.lists(st.sampled_from(LOCATIONS), min_size=1, max_size=3)):
        parent: Any = manifest
        try:
            for part in location[:-1]:
                parent = parent[part]
            original = parent[location[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        _mutate(draw, parent, location[-1], original)
    return manifest


def _mutate(draw: st.DrawFn, parent: Any, key: str | int, original: Any) -> None:
    kind = draw(st.sampled_from(["replace", "remove", "near", "near"]))
    if kind == "remove":
        del parent[key]
    elif kind == "near" and isinstance(original, str):
        parent[key] = draw(_near_texts(original))
    elif kind == "near" and isinstance(original, list) and original:
        parent[key] = [*original, copy.deepcopy(draw(st.sampled_from(original)))]
    elif kind == "near" and isinstance(original, dict):
        parent[key] = {**original, draw(st.text("abA./-_ ", max_size=8)): draw(VALUES)}
    else:
        parent[key] = draw(VALUES)


def _assert_refused_or_readable(dry_run: Callable[[dict[str, Any]], Any], manifest: dict[str, Any]) -> None:
    answer = dry_run(manifest)
    if answer.status in REFUSALS:
        assert answer.message
        return
    assert answer.status == 201, answer
    try:
        agent = AgentDeployment.model_validate(answer.stored)
    except ValidationError as error:
        raise AssertionError(f"accepted by the API server, refused by the models: {error}") from error
    assert behaviour_of(agent.spec)["model"]["name"] == answer.stored["spec"]["model"]["name"]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(manifest=_mutations())
def test_models_read_whatever_the_api_server_accepts(dry_run, manifest):
    _assert_refused_or_readable(dry_run, manifest)


@pytest.mark.parametrize("location", LOCATIONS, ids=lambda location: ".".join(map(str, location)))
def test_models_read_whatever_the_api_server_accepts_in_one_place(dry_run, location):
    manifest = copy.deepcopy(BASE)
    parent = manifest
    for part in location[:-1]:
        parent = parent[part]
    texts = TRICKY_TEXTS if isinstance(parent[location[-1]], str) else ()
    for value in (*TRICKY_VALUES, *texts):
        parent[location[-1]] = value
        _assert_refused_or_readable(dry_run, manifest)
