"""Values of the contract: durations, fractions, quantities, names, conversation ids, slots and buckets."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agent_api.conversation import ConversationId, parse_conversation_id
from agent_api.meta import DataKey, ObjectName, format_time
from agent_api.observations import LATENCY_BOUNDS, SLOT_SECONDS, conversation_hash, latency_bucket, slot_start
from agent_api.quantities import Duration, fraction, seconds
from agent_api.v1alpha1.model import BaseUrl
from agent_api.v1alpha1.runtime import Quantity


@pytest.mark.parametrize(
    ("text", "length"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1500ms", 1.5), ("0.5h", 1800), ("0s", 0), ("1m1m", 120)],
)
def test_duration_has_a_length_in_seconds(text, length):
    assert seconds(text) == pytest.approx(length)


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "5m\n", "1d", "1.h", ".5m", "99999999h", "٣m"])
def test_text_that_is_no_duration_has_no_length(text):
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@given(
    st.from_regex(r"(?a)\A([0-9]{1,7}(\.[0-9]{1,3})?(ms|s|m)|[0-9]{1,5}(\.[0-9]{1,3})?h){1,6}\Z").filter(
        lambda text: len(text) <= 32
    )
)
def test_duration_stays_below_what_the_api_server_can_compute(text):
    assert seconds(TypeAdapter(Duration).validate_python(text)) < 292 * 365 * 86400


def test_fraction_is_read_exactly():
    assert fraction("0.02") == pytest.approx(0.02)


@pytest.mark.parametrize(("given_value", "text"), [(2, "2"), ("100m", "100m"), ("1.5Gi", "1.5Gi"), ("1e3", "1e3")])
def test_quantity_is_text_however_it_was_written(given_value, text):
    assert TypeAdapter(Quantity).validate_python(given_value) == text


@pytest.mark.parametrize("value", [True, -1, 0.5, "", "1 Gi", "many", "1e100", None])
def test_value_that_is_no_quantity_is_refused(value):
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(value)


@pytest.mark.parametrize(
    "url",
    ["https://api.openai.com/v1", "http://m:8000", "http://[::1]:80/v1", "http://a_b.c/", "https://a/v1?api-version=2"],
)
def test_absolute_url_is_a_base_url(url):
    assert TypeAdapter(BaseUrl).validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com",
        "ftp://a",
        "https://",
        "https://u:p@a/v1",
        "https://a/#b",
        "https://a/ b",
        "https://a/\u00a0",
        "http://a:b",
    ],
)
def test_other_text_is_no_base_url(url):
    with pytest.raises(ValidationError):
        TypeAdapter(BaseUrl).validate_python(url)


@pytest.mark.parametrize(("kind", "text"), [(ObjectName, "a..b"), (ObjectName, "A"), (DataKey, ".."), (DataKey, "a/b")])
def test_name_that_kubernetes_refuses_is_refused(kind, text):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(("kind", "text"), [(ObjectName, "a.b-c"), (DataKey, ".env"), (DataKey, "Prompt_1.md")])
def test_name_that_kubernetes_takes_is_taken(kind, text):
    assert TypeAdapter(kind).validate_python(text) == text


REVISIONS = st.from_regex(r"[a-z][-a-z0-9]{0,40}[a-z0-9]", fullmatch=True)
TOKENS = st.from_regex(r"[A-Za-z0-9_-]{8,48}", fullmatch=True)


@given(revision=REVISIONS, epoch=st.integers(0, 999_999_999), token=TOKENS)
def test_conversation_id_is_read_as_it_was_written(revision, epoch, token):
    conversation = ConversationId(revision, epoch, token)
    assert parse_conversation_id(str(conversation)) == conversation


@given(st.text(max_size=200))
def test_any_text_is_an_id_that_writes_itself_or_none(text):
    parsed = parse_conversation_id(text)
    assert parsed is None or str(parsed) == text


@pytest.mark.parametrize("text", ["", "a.1.short", "a.1.abcdefgh", "ab.x.abcdefgh", "Ab.1.abcdefgh", "ab.1.abcdefgh\n"])
def test_text_that_no_runtime_minted_is_no_conversation(text):
    assert parse_conversation_id(text) is None


@given(st.floats(0, 1e9))
def test_moment_lies_in_its_slot(moment):
    assert slot_start(moment) <= moment < slot_start(moment) + SLOT_SECONDS
    assert slot_start(moment) % SLOT_SECONDS == 0


@given(st.floats(0, 1e5))
def test_latency_lies_in_its_bucket(latency):
    index = latency_bucket(latency)
    assert index == len(LATENCY_BOUNDS) or latency <= LATENCY_BOUNDS[index] * (1 + 1e-9)
    assert index == 0 or latency > LATENCY_BOUNDS[index - 1] * (1 - 1e-9)


def test_conversation_is_published_only_as_a_short_hash():
    assert conversation_hash("support-5c9f0a1b2d.1.abcdefgh") == conversation_hash("support-5c9f0a1b2d.1.abcdefgh")
    assert len(conversation_hash("x")) == 12


def test_time_is_written_in_utc_and_whole_seconds():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-01-02T01:04:05Z"
    assert format_time(moment.astimezone(UTC)) == format_time(moment)
