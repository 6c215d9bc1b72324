"""What makes two requests the same for the cache (failure list, case 18)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.runtime_document import CacheDocument, EndpointDocument, RetryDocument, RuntimeDocument
from agent_api.v1alpha1.guards import CacheScope
from agent_runtime.core.cache_keys import Tenant, cache_key, tenant_of
from agent_runtime.core.loop import Message, ToolCall

TENANT = Tenant("team-a", "support", "support-5c9f0a1b2d", "alice")
HISTORY = (
    Message("user", "hi"),
    Message("assistant", "", (ToolCall("call-1", "kb_search", "{}"),)),
    Message("tool", "found", tool_call_id="call-1"),
)
PARTS = {
    "tenant": TENANT,
    "instructions": "Be kind.",
    "history": HISTORY,
    "query": "how?",
    "response_format": {"type": "json_schema", "schema": {"a": 1}},
    "parameters": {"temperature": 0, "tools": ["a"], "extra": {"seed": 1}},
}


def key(**changes):
    return cache_key(**(PARTS | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": replace(TENANT, namespace="team-b")},
        {"tenant": replace(TENANT, agent="sales")},
        {"tenant": replace(TENANT, revision="support-77aa01e4c3")},
        {"tenant": replace(TENANT, user="bob")},
        {"tenant": replace(TENANT, user=None)},
        {"tenant": replace(TENANT, user="*")},
        {"instructions": "Be kind"},
        {"history": ()},
        {"history": HISTORY[:-1]},
        {"history": (*HISTORY, Message("user", ""))},
        {"history": (replace(HISTORY[0], role="system"), *HISTORY[1:])},
        {"history": (*HISTORY[:-1], replace(HISTORY[-1], tool_call_id="call-2"))},
        {"history": (HISTORY[0], replace(HISTORY[1], tool_calls=()), HISTORY[2])},
        {"query": "how"},
        {"response_format": None},
        {"response_format": {}},
        {"response_format": {"type": "json_schema", "schema": {"a": 2}}},
        {"parameters": {}},
        {"parameters": {"temperature": None, "tools": ["a"], "extra": {"seed": 1}}},
        {"parameters": {"tools": ["a"], "extra": {"seed": 1}}},
        {"parameters": {"temperature": 0.0, "tools": ["a"], "extra": {"seed": 1}}},
        {"parameters": {"temperature": "0", "tools": ["a"], "extra": {"seed": 1}}},
        {"parameters": {"temperature": False, "tools": ["a"], "extra": {"seed": 1}}},
        {"parameters": {"temperature": 0, "tools": [], "extra": {"seed": 1}}},
        {"parameters": {"temperature": 0, "tools": ["a"], "extra": {"seed": 1}, "tool_choice": "none"}},
        {"parameters": {"temperature": 0, "tools": ["a"], "extra": {"seed": 2}}},
        {"parameters": {"temperature": 0, "tools": ["a"], "extra": {"seed": 1}, "max_iterations": 3}},
        {"parameters": {"temperature": 0, "tools": ["a"], "extra": {"seed": 1}, "never heard of": 1}},
    ],
)
def test_whatever_may_change_the_answer_changes_the_key(change):
    assert key(**change) != key()


@pytest.mark.parametrize("name", ["request_id", "stream", "stream_options", "conversation_id", "user_id", "user"])
def test_what_cannot_change_the_answer_is_left_out(name):
    assert key(parameters=PARTS["parameters"] | {name: "x"}) == key()


def test_order_of_members_does_not_matter():
    assert key(parameters=dict(reversed(PARTS["parameters"].items()))) == key()
    assert key(history=list(HISTORY)) == key()


@pytest.mark.parametrize("value", [2**70, "\ud800", {1: 2}, {"a": {"b"}}])
def test_what_has_no_canonical_form_has_no_key(value):
    assert key(parameters={"value": value}) is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, width=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def canonical(value):
    """A form in which equal means the same JSON, unlike 1 == True == 1.0."""
    if isinstance(value, dict):
        return {name: canonical(member) for name, member in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return (type(value).__name__, str(value))


@given(json_values, json_values)
def test_two_requests_share_a_key_only_if_they_are_the_same(left, right):
    same = canonical(left) == canonical(right)
    assert (key(parameters={"value": left}) == key(parameters={"value": right})) == same


@given(st.text(), st.text(), st.text(), st.text())
def test_text_cannot_move_from_one_part_to_another(query, instructions, other_query, other_instructions):
    left, right = (query, instructions), (other_query, other_instructions)
    keys = [cache_key(TENANT, second, (), first, None, {}) for first, second in (left, right)]
    assert (keys[0] == keys[1]) == (left == right)


def document(scope):
    endpoint = EndpointDocument(
        model="m", base_url="http://x", max_output_tokens=1, first_token_seconds=1, idle_seconds=1, total_seconds=1
    )
    return RuntimeDocument(
        agent="support",
        namespace="team-a",
        revision="support-1",
        instructions="",
        max_iterations=1,
        timeout_seconds=1,
        endpoints=(endpoint,),
        retry=RetryDocument(max_attempts=1, base_delay_seconds=1, max_delay_seconds=1),
        cache=None if scope is None else CacheDocument(ttl_seconds=60, scope=scope),
    )


@pytest.mark.parametrize(("scope", "user"), [(CacheScope.USER, "alice"), (CacheScope.AGENT, None), (None, "alice")])
def test_answers_are_shared_between_users_only_if_the_agent_says_so(scope, user):
    assert tenant_of(document(scope), "alice") == Tenant("team-a", "support", "support-1", user)


def test_two_releases_that_run_side_by_side_find_each_others_answers():
    assert key() == "c80aff707587ddfdefc2fa7e16a1984b0b17e5b68e72e9225395e3a017614d92"
