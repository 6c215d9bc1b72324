"""What goes wrong reaches a user of the `openai` client as the exception that its manual names."""

from __future__ import annotations

import openai
import pytest

PRICE = {"inputPerMillion": "1000", "outputPerMillion": "1000"}
KEYS = {("keys", "alice"): "sk-alice-0123456789", ("keys", "bob"): "sk-bob-0123456789"}


def ask(client, text="Hello", **options):
    return client.chat.completions.create(model="support", messages=[{"role": "user", "content": text}], **options)


@pytest.fixture(scope="module")
def guarded(start_lasting_agent):
    """An agent that only holders of a key may ask."""
    return start_lasting_agent(access={"apiKeysSecretRef": {"name": "keys"}}, secrets=KEYS)


@pytest.mark.parametrize("key", ["sk-mallory-0123456789", "none"])
def test_unknown_key_is_an_authentication_error(guarded, connect, key):
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(connect(guarded, key))
    assert refused.value.code == "unauthorized"
    assert key not in str(refused.value)
    assert refused.value.response.headers["www-authenticate"].startswith("Bearer")


def test_unknown_key_may_not_list_models_either(guarded, connect):
    with pytest.raises(openai.AuthenticationError):
        connect(guarded, "none").models.list()


def test_known_key_is_answered(guarded, connect):
    for key in KEYS.values():
        assert ask(connect(guarded, key)).choices[0].message.content == "good-v1 answers: Hello"


def test_too_many_calls_are_a_rate_limit_error_that_says_when_to_come_again(start_agent, connect):
    client = connect(start_agent(rateLimits={"perUserPerMinute": 2}))
    ask(client, user="alice"), ask(client, user="alice")
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, user="alice")
    assert refused.value.code == "rate-limited"
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 62
    ask(client, user="bob")


def test_key_says_whose_limit_it_is_whatever_the_body_says(start_agent, connect):
    agent = start_agent(access={"apiKeysSecretRef": {"name": "keys"}}, secrets=KEYS, rateLimits={"perUserPerMinute": 1})
    alice = connect(agent, KEYS["keys", "alice"])
    ask(alice, user="bob")
    with pytest.raises(openai.RateLimitError):
        ask(alice, user="carol")
    ask(connect(agent, KEYS["keys", "bob"]), user="alice")


def test_used_up_budget_is_a_rate_limit_error_that_names_itself(start_agent, connect):
    client = connect(start_agent(price=PRICE, budgets={"perRequest": {"costUSD": "0.01"}}))
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client)
    assert refused.value.code == "budget-exceeded"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 2}, "n"),
        ({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "xml"}}, "response_format"),
    ],
)
def test_what_the_agent_cannot_do_is_a_bad_request_error_that_names_the_field(client, body, told):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="support", **body)
    assert refused.value.code == "invalid-request"
    assert told in refused.value.message


def test_question_that_a_guard_refuses_is_a_bad_request_error(start_agent, connect):
    client = connect(start_agent(guards={"input": {"blockedPatterns": ["(?i)forbidden"]}}))
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "a ForBidden word")
    assert refused.value.code == "guard-blocked"


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "messages.0.content.0.type: image_url is not understood; only text parts are",
        ),
        ([{"role": "user", "content": ""}], "messages.0.content: A message of role user needs content"),
    ],
)
def test_message_that_says_nothing_to_the_agent_is_told_by_its_field(client, messages, told):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="support", messages=messages)
    assert told in str(refused.value)
    assert "constrained" not in str(refused.value)


def test_endpoint_that_there_is_not_is_a_not_found_error_that_names_those_there_are(client):
    for call in (
        lambda: client.embeddings.create(model="support", input="x", encoding_format="float"),
        lambda: client.responses.create(model="support", input="x"),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            call()
        assert refused.value.code == "not-found"
        assert "the agent answers POST /v1/chat/completions and GET /v1/models." in refused.value.message


def test_base_url_without_its_last_part_is_told(agent):
    bare = openai.OpenAI(base_url=agent.url, api_key="none", max_retries=0)
    with bare, pytest.raises(openai.NotFoundError) as refused:
        ask(bare)
    assert "the base URL of an OpenAI client must end in /v1." in str(refused.value)


def test_agent_is_retrieved_as_a_model_and_no_other_is(client):
    assert client.models.retrieve("support").id == "support"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-4")
    assert "the agent is the model support" in refused.value.message


@pytest.fixture(scope="module")
def broken(start_lasting_agent):
    """An agent whose model always fails."""
    breaker = {"failureThreshold": 10_000}
    return start_lasting_agent(model="bad-v1", resilience={"maxAttempts": 1, "circuitBreaker": breaker})


def test_model_that_does_not_answer_is_an_internal_server_error(broken, connect):
    with pytest.raises(openai.InternalServerError) as failed:
        ask(connect(broken))
    assert failed.value.status_code == 502
    assert failed.value.code == "model-unavailable"


def test_stream_without_an_answer_raises_as_a_whole_answer_does(broken, connect):
    with pytest.raises(openai.InternalServerError) as failed:
        ask(connect(broken), stream=True)
    assert (failed.value.status_code, failed.value.code) == (502, "model-unavailable")


def test_limit_is_a_rate_limit_error_also_for_a_stream(start_agent, connect):
    client = connect(start_agent(rateLimits={"perUserPerMinute": 1}))
    list(ask(client, user="alice", stream=True))
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, user="alice", stream=True)
    assert int(refused.value.response.headers["retry-after"]) >= 1


def test_call_that_a_person_must_allow_is_a_conflict_error_that_names_the_way(start_agent, connect, tool_server):
    shop = {"openAPI": {"url": f"{tool_server.url}/openapi.json"}, "baseURL": tool_server.url}
    rule = {"tools": ["shop.refundOrder"], "action": "RequireApproval"}
    client = connect(start_agent(tools=[{"name": "shop", "http": shop}], toolPolicy={"rules": [rule]}))
    with pytest.raises(openai.ConflictError) as refused:
        ask(client, 'Refund it. [[call refundOrder {"order_id": "1", "reason": "x"}]]')
    assert refused.value.code == "approval-required"
    assert "/agent/tasks" in refused.value.message
    assert "shop.refundOrder" in refused.value.message
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "refundOrder" not in tool_server.get("/stats")["counts"]
