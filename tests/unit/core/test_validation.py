"""What the API server cannot see of a spec is found, named by its field, and told with a way out."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.validation import (
    MAX_EXTRA_BYTES,
    MAX_EXTRA_DEPTH,
    MAX_RECORDED_TEXT_BYTES,
    MAX_SPEC_BYTES,
    OUR_HEADERS,
    OUR_PARAMETERS,
    condition_fault,
    invalid_parts,
    pattern_fault,
)

REPOSITORY = Path(__file__).parents[3]
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]["spec"]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/agent.yaml"))
DESCRIPTION = json.dumps({"openapi": "3.1.0", "paths": {"/now": {"get": {}}}})


def spec_with(*path, to):
    spec = copy.deepcopy(FULL)
    node = spec
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = to
    return AgentDeploymentSpec.model_validate(spec)


def found(spec, open_api=None, instructions=""):
    return [str(part) for part in invalid_parts(spec, open_api or {}, instructions)]


def nested(levels):
    value = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_nothing_is_wrong_with_an_example(path):
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    assert found(AgentDeploymentSpec.model_validate(spec)) == []


def test_nothing_is_wrong_with_a_spec_of_all_fields():
    assert found(AgentDeploymentSpec.model_validate(FULL), {"weather": DESCRIPTION}) == []


WRONG = [
    (("budgets", "timeZone"), "Europe/Berlim", "spec.budgets.timeZone: 'Europe/Berlim' is no time zone"),
    (("budgets", "timeZone"), "Europe", "spec.budgets.timeZone"),
    (("budgets", "timeZone"), "europe/berlin", "spec.budgets.timeZone"),
    (("toolPolicy", "rules", 1, "when"), "args.path", "spec.toolPolicy.rules[1].when"),
    (("toolPolicy", "rules", 1, "when"), "arguments.path == 'a'", "spec.toolPolicy.rules[1].when"),
    (("toolPolicy", "rules", 3, "when"), "tool", "spec.toolPolicy.rules[3].when"),
    (
        ("toolPolicy", "rules", 1, "paths", "allowedPrefixes"),
        ["/a", "/b", "/a"],
        "allowedPrefixes[2]: '/a' is there twice",
    ),
    (
        ("guards", "input", "blockedPatterns"),
        ["fine", "(?=x)"],
        "spec.guards.input.blockedPatterns[1]: '(?=x)' is no RE2",
    ),
    (("guards", "output", "blockedPatterns"), ["("], "spec.guards.output.blockedPatterns[0]: '(' is no RE2"),
    (("access", "jwt", "jwks"), '{"keys": []}', "spec.access.jwt.jwks: has no key"),
    (("model", "parameters", "extra"), {"max_tokens": 1}, "spec.model.parameters.extra.max_tokens: "),
    (("fallback", 0, "parameters", "extra"), {"n": 2}, "spec.fallback[0].parameters.extra.n: "),
    (("model", "parameters", "extra"), {"a": "x" * MAX_EXTRA_BYTES}, "spec.model.parameters.extra: has "),
    (("model", "parameters", "extra"), nested(MAX_EXTRA_DEPTH + 1), "spec.model.parameters.extra: is nested"),
    (("model", "parameters", "extra"), nested(5000), "spec.model.parameters.extra: is nested"),
    (("runtime", "pod", "affinity"), {"nodeAffinity": nested(5000)}, "spec.runtime.pod.affinity: is nested"),
    (("tools", 0, "mcp", "headersFrom", 0, "name"), "Transfer-Encoding", "spec.tools[0].mcp.headersFrom[0].name"),
    (("tools", 1, "http", "headersFrom", 1, "name"), "x-api-key", "spec.tools[1].http.headersFrom[1].name"),
    (("agent", "instructions"), "語" * (MAX_SPEC_BYTES // 3), "spec: has "),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), WRONG, ids=[f"{expected[:40]}-{n}" for n, (_, _, expected) in enumerate(WRONG)]
)
def test_what_is_wrong_is_named_by_its_field_with_a_way_out(path, value, expected):
    (message,) = found(spec_with(*path, to=value))
    assert expected in message
    assert ";" in message
    assert len(message) < 600


def test_every_fault_is_told_in_the_order_of_the_fields():
    spec = copy.deepcopy(FULL)
    spec["budgets"]["timeZone"] = "Nowhere"
    spec["guards"]["input"]["blockedPatterns"] = ["(", "[", "fine"]
    paths = [part.path for part in invalid_parts(AgentDeploymentSpec.model_validate(spec), {"weather": "{}"})]
    patterns = [f"spec.guards.input.blockedPatterns[{at}]" for at in (0, 1)]
    assert paths == ["spec.budgets.timeZone", "spec.tools[1].http.openAPI.configMapKeyRef", *patterns]


@pytest.mark.parametrize("name", sorted(OUR_PARAMETERS))
def test_parameters_that_fields_of_their_own_say_are_no_further_ones(name):
    (message,) = found(spec_with("model", "parameters", "extra", to={name: 1}))
    assert message.startswith(f"spec.model.parameters.extra.{name}: ")


@pytest.mark.parametrize("name", sorted(OUR_HEADERS))
def test_headers_of_the_connection_are_refused_however_they_are_written(name):
    assert len(found(spec_with("tools", 0, "mcp", "headersFrom", 0, "name", to=name.title()))) == 1


@pytest.mark.parametrize(
    "extra", [{}, {"seed": 1}, nested(MAX_EXTRA_DEPTH), {"stop": ["a"], "logit_bias": {"50256": -100}}]
)
def test_further_parameters_of_a_provider_are_accepted(extra):
    assert found(spec_with("model", "parameters", "extra", to=extra)) == []


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"])
def test_time_zones_of_the_database_are_accepted(name):
    assert found(spec_with("budgets", "timeZone", to=name)) == []


def test_a_description_needs_a_server_only_if_no_base_url_is_set():
    assert found(AgentDeploymentSpec.model_validate(FULL), {"weather": DESCRIPTION}) == []
    spec = copy.deepcopy(FULL)
    del spec["tools"][1]["http"]["baseURL"]
    (message,) = found(AgentDeploymentSpec.model_validate(spec), {"weather": DESCRIPTION})
    assert "set http.baseURL" in message


def test_a_source_whose_description_was_not_read_is_not_checked():
    assert found(AgentDeploymentSpec.model_validate(FULL), {}) == []


def test_what_does_not_fit_into_a_record_is_told_before_it_is_written():
    spec = AgentDeploymentSpec.model_validate(FULL)
    half = "x" * (MAX_RECORDED_TEXT_BYTES // 2)
    assert found(spec, {}, half) == []
    (message,) = found(spec, {}, half * 2)
    assert message.startswith("spec.agent.instructionsFrom: ")
    description = DESCRIPTION[:-1] + f', "info": "{half}"}}'
    assert found(spec, {"weather": description}) == []
    (message,) = found(spec, {"weather": description}, half)
    assert message.startswith("spec.tools: ")


# Conditions.


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        "args.path.startsWith('/workspace/')",
        "tool == 'kb.search'",
        "has(args.n) && args.n < 5.5",
        "args.items.all(item, size(item) < 10)",
        "args['a-b'] in ['x', 'y']",
        "args.flag == true",
        "args.a || args.b",
        "duration(args.wait) < duration('1h')",
    ],
)
def test_an_expression_that_is_a_bool_is_a_condition(expression):
    assert condition_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "Syntax error"),
        ("args.n >", "at 1:9: Syntax error"),
        ("user == 'a'", "undeclared reference to 'user'"),
        ("tool == 3", "no matching overload"),
        ("args.flag", "of type DYN, not bool; compare it, such as <expression> == true"),
        ("tool", "of type STRING, not bool"),
        ("1 + 1", "of type INT, not bool"),
        ("'false'", "of type STRING, not bool"),
        ("args.items.map(item, item)", "not bool"),
        ("args.?a.hasValue()", "unsupported syntax"),
        ("(" * 200 + "true" + ")" * 200, "recursion limit"),
        ("🎉", "Syntax error"),
    ],
)
def test_an_expression_that_is_no_bool_is_refused_with_the_reason_on_one_line(expression, reason):
    fault = condition_fault(expression)
    assert fault is not None
    assert reason in fault
    assert "\n" not in fault


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("argstol.()[]{}!?:&|<>=+-*/%'\"1,0 x\\\n"), max_size=60))
def test_no_expression_ends_the_process_or_raises(expression):
    fault = condition_fault(expression)
    assert fault is None or ";" in fault


@pytest.mark.parametrize("piece", ["(", "[", "{", "!", "-", "a.", "x?", "1+", "a[", "&&", "'", "\\"])
def test_the_longest_expressions_are_compiled_or_refused(piece):
    for expression in (piece * (1024 // len(piece)), f"{piece * (1000 // len(piece))}true"):
        assert condition_fault(expression) is None or isinstance(condition_fault(expression), str)


# Patterns.


@pytest.mark.parametrize("pattern", ["a", "(?i)secret", r"\bfoo\b", r"\p{Greek}+", "(a+)+$", "語"])
def test_patterns_of_re2_are_accepted(pattern):
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a++", "(?=x)", "(?<!x)", r"(a)\1", r"\p{L}{1000}", "((a{100}){100}){100}"]
)
def test_patterns_that_re2_does_not_compile_are_refused(pattern):
    fault = pattern_fault(pattern)
    assert fault is not None
    assert "is no RE2 expression: " in fault


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text(st.sampled_from("()[]{}*+?|^$.\\a-z0,Ppd<>:=!"), max_size=40))
def test_no_pattern_raises(pattern):
    assert pattern_fault(pattern) is None or isinstance(pattern_fault(pattern), str)
