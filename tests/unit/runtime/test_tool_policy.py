from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.runtime_document import ToolPolicyDocument
from agent_api.v1alpha1.tools import PathCondition, ShellCondition, SqlCondition, ToolAction, ToolRule
from agent_runtime.core.globs import glob_matches
from agent_runtime.core.policy import DEFAULT_RULE, Allowed, Denied, NeedsApproval, PolicyInvalid, ToolRules

ALLOW, DENY, APPROVE = ToolAction.ALLOW, ToolAction.DENY, ToolAction.REQUIRE_APPROVAL


def rule(tools, action, **conditions):
    return ToolRule(tools=[tools] if isinstance(tools, str) else tools, action=action, **conditions)


def policy(*rules, **facts):
    return ToolRules(ToolPolicyDocument(rules=rules, **facts))


def decide(rules, tool="kb.search", arguments=None, calls=0, **by_rule):
    return rules.decide(tool, arguments or {}, calls, {int(key[1:]): count for key, count in by_rule.items()})


@pytest.mark.parametrize(
    ("rules", "default", "decision"),
    [
        ([], DENY, Denied("no rule of the tool policy allows it")),
        ([], ALLOW, Allowed(DEFAULT_RULE)),
        ([], APPROVE, NeedsApproval(DEFAULT_RULE)),
        ([rule("kb.*", ALLOW)], DENY, Allowed(0)),
        ([rule("files.*", ALLOW)], DENY, Denied("no rule of the tool policy allows it")),
        ([rule("kb.*", ALLOW), rule("*", DENY)], DENY, Denied("rule 2 of the tool policy denies it")),
        ([rule("kb.*", APPROVE), rule("kb.search", ALLOW)], DENY, NeedsApproval(0)),
        ([rule("kb.read", ALLOW), rule(["a.*", "kb.s?arch"], ALLOW)], DENY, Allowed(1)),
        ([rule("kb.*", ALLOW, when="args.n > 3"), rule("kb.*", APPROVE)], DENY, NeedsApproval(1)),
    ],
)
def test_deny_wins_then_the_first_rule_that_holds_then_the_default(rules, default, decision):
    assert decide(policy(*rules, default=default)) == decision


@pytest.mark.parametrize(
    ("when", "arguments", "holds"),
    [
        ("args.path.startsWith('/workspace/')", {"path": "/workspace/a"}, True),
        ("args.path.startsWith('/workspace/')", {"path": "/etc"}, False),
        ("args.path.startsWith('/workspace/')", {}, None),
        ("args.path.startsWith('/workspace/')", {"path": 3}, None),
        ("args.n < 10", {"n": 5.5}, True),
        ("args.n < 10", {"n": 2**70}, None),
        ("args.flag", {"flag": True}, True),
        ("args.flag", {"flag": "true"}, None),
        ("args.flag", {"flag": 1}, None),
        ("args.flag", {"flag": {"a": 1}}, None),
        ("has(args.q) && args.q != ''", {"q": "x"}, True),
        ("tool == 'kb.search'", {}, True),
        ("size(args.items) <= 2", {"items": [1, 2]}, True),
        ("args.a.all(i, args.a.all(j, args.a.all(k, i + j + k > 0)))", {"a": [1] * 300}, None),
        ("args.s.size() > 0", {"s": "\ud800"}, None),
    ],
)
def test_a_condition_that_fails_to_evaluate_denies_where_it_would_deny_and_allows_nothing(when, arguments, holds):
    for action, granted in ((ALLOW, Allowed), (APPROVE, NeedsApproval)):
        assert isinstance(decide(policy(rule("*", action, when=when)), arguments=arguments), granted) == (holds is True)
    denying = policy(rule("*", DENY, when=when), default=ALLOW)
    assert isinstance(decide(denying, arguments=arguments), Denied) == (holds is not False)


@pytest.mark.parametrize("when", ["args.", "nobody == 1", "'text'", "1 + 1", "args.x.lowerAscii() == 'a'"])
def test_a_condition_that_cannot_be_true_or_false_is_refused_by_position(when):
    with pytest.raises(PolicyInvalid, match=r"^toolPolicy\.rules\[1\]\.when: "):
        policy(rule("*", ALLOW), rule("*", ALLOW, when=when))


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ({"paths": PathCondition(argument="x", allowed_prefixes=["/w"])}, "/w/a", "/w/../a"),
        ({"shell": ShellCondition(argument="x", allowed_programs=["ls"])}, "ls -l", "ls; id"),
        ({"sql": SqlCondition(argument="x", allowed_tables=["t"])}, "SELECT * FROM t", "SELECT * FROM u"),
    ],
)
def test_a_rule_with_a_check_holds_only_for_a_safe_argument_that_is_there(condition, good, bad):
    rules = policy(rule("*", ALLOW, **condition))

    assert decide(rules, arguments={"x": good}) == Allowed(0)
    for arguments in ({"x": bad}, {}, {"x": None}, {"y": good}, {"x": 3}):
        denied = decide(rules, arguments=arguments)
        assert isinstance(denied, Denied)
        assert "rule 1: argument 'x' must be" in denied.reason


def test_the_calls_of_a_rule_and_of_a_run_are_limited():
    rules = policy(rule("kb.*", ALLOW, max_calls_per_run=2), rule("kb.*", APPROVE), max_calls_per_run=5)

    assert decide(rules, calls=1, r0=1) == Allowed(0)
    assert decide(rules, calls=2, r0=2) == NeedsApproval(1)
    assert decide(rules, calls=5) == Denied("the run has made the 5 tool calls that it may")


@pytest.mark.parametrize(
    ("rules", "default", "told"),
    [
        ([], DENY, False),
        ([], ALLOW, True),
        ([rule("kb.*", ALLOW, when="args.x == 1")], DENY, True),
        ([rule("kb.*", APPROVE)], DENY, True),
        ([rule("kb.*", ALLOW), rule("kb.search", DENY)], DENY, False),
        ([rule("kb.*", ALLOW), rule("kb.search", DENY, when="args.x == 1")], DENY, True),
        ([rule("files.*", ALLOW)], DENY, False),
    ],
)
def test_a_tool_that_can_never_be_allowed_is_not_told(rules, default, told):
    assert policy(*rules, default=default).may_allow("kb.search") == told


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=10))
def test_globs_match_as_those_of_a_shell(glob, name):
    assert glob_matches(glob, name) == fnmatch.fnmatchcase(name, glob)


def test_a_glob_of_stars_takes_no_time():
    began = time.monotonic()
    glob_matches("*a" * 60, "a" * 59 + "b" * 5000)

    assert time.monotonic() - began < 1
