"""Blotting out of secrets, in whole texts, in streams however they are cut, and in JSON."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.v1alpha1.guards import DEFAULT_REDACTIONS, Redaction
from agent_runtime.core.redaction import MAX_DEPTH, TOO_DEEP, Redactor, replacement

DATA = Path(__file__).parents[2] / "data"
ALL = Redactor(Redaction)
SECRETS = [
    (Redaction(kind), text.replace("¦", ""))
    for kind, texts in yaml.safe_load((DATA / "redaction_secrets.yaml").read_text()).items()
    for text in texts
]
BENIGN = yaml.safe_load((DATA / "redaction_benign.yaml").read_text())
TEXTS = [re.sub("[«»]", "", text) for _, text in SECRETS]


def pieces(redactor, chunks):
    stream = redactor.stream()
    given_out = [stream.feed(chunk) for chunk in chunks]
    return "".join(given_out) + stream.finish()


@pytest.mark.parametrize(("kind", "marked"), SECRETS)
def test_secret_is_blotted_out_and_nothing_else(kind, marked):
    expected = re.sub("«[^»]+»", lambda _: replacement(kind), marked).replace("«»", "")
    found = dict.fromkeys([kind], len(re.findall("«[^»]+»", marked)))
    redacted, counts = ALL.redact(re.sub("[«»]", "", marked))
    assert redacted == expected
    assert counts == {kind: number for kind, number in found.items() if number}


@pytest.mark.parametrize("text", BENIGN)
def test_harmless_text_stays_as_it_is(text):
    assert ALL.redact(text) == (text, {})


def test_there_are_enough_harmless_texts():
    assert len(BENIGN) >= 100


@pytest.mark.parametrize("text", [*TEXTS, *BENIGN])
def test_cut_at_any_byte_changes_nothing(text):
    whole, raw = ALL.redact(text)[0], text.encode()
    for cut in range(len(raw) + 1):
        decoder = codecs.getincrementaldecoder("utf-8")()
        assert pieces(ALL, [decoder.decode(raw[:cut]), decoder.decode(raw[cut:])]) == whole


@pytest.mark.parametrize("text", [*TEXTS, *BENIGN])
def test_text_that_comes_letter_by_letter_is_redacted_the_same(text):
    assert pieces(ALL, text) == ALL.redact(text)[0]


fragments = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS).flatmap(lambda text: st.integers(0, len(text)).map(lambda end: text[:end])),
    st.sampled_from(TEXTS).flatmap(lambda text: st.integers(0, len(text)).map(lambda begin: text[begin:])),
    st.sampled_from(BENIGN),
    st.sampled_from(
        [" ", "\n", "\\n", '"', "'", "`", "=", ": ", "-", "@", "/", ".", "é", "密", "\U0001f600", "password", "Bearer "]
    ),
    st.text(max_size=12),
    st.text("0123456789 -", max_size=45),
    st.text("eyJ.abcABC012_-", max_size=60),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(fragments, max_size=6).map("".join), st.data())
def test_stream_gives_out_what_the_whole_text_would(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert pieces(ALL, chunks) == ALL.redact(text)[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(fragments, max_size=5).map("".join))
def test_text_that_comes_letter_by_letter_is_redacted_as_a_whole(text):
    assert pieces(ALL, text) == ALL.redact(text)[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(fragments, max_size=4).map("".join))
def test_redacted_text_is_left_alone(text):
    once = ALL.redact(text)[0]
    assert set(re.findall(r"\[redacted:\w+\]", ALL.redact(once)[0])) >= set(re.findall(r"\[redacted:\w+\]", once))


@settings(max_examples=200, deadline=None)
@given(st.text(), st.data())
def test_text_of_any_characters_is_redacted_without_failing(text, data):
    broken = data.draw(st.sampled_from(["", "\ud800", "\udfff\ud800"]))
    assert pieces(ALL, [text, broken]) == ALL.redact(text + broken)[0]
    ALL.redact(text + broken)[0].encode()


def test_ordinary_text_is_passed_on_word_by_word():
    stream = ALL.stream()
    assert [stream.feed(part) for part in ("Hello", " dear", " reader", "。")] == ["", "Hello ", "dear ", "reader。"]
    assert stream.finish() == ""


@pytest.mark.parametrize(
    "text",
    [
        "4" * 5000,
        "eyJ" * 2000,
        "-----BEGIN PRIVATE KEY-----Version: " * 200,
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3V" + "\n" * 5000,
        "a@" * 3000,
        "\\n" * 3000,
        'password: "' + "\U0001f600" * 900,
        *(f"{scheme}://" + letter * 1200 for scheme in ("ab", "abc", "abcd", "abcde") for letter in "é密\U0001f600"),
    ],
)
@pytest.mark.parametrize("size", [1, 700, 6000])
def test_what_is_held_back_is_bounded(text, size):
    stream, most = ALL.stream(), 0
    given_out = []
    for begin in range(0, len(text), size):
        given_out.append(stream.feed(text[begin : begin + size]))
        most = max(most, len(stream._buffer))
    assert most <= ALL.longest + 8
    assert "".join(given_out) + stream.finish() == ALL.redact(text)[0]


def test_endless_secret_takes_no_memory():
    stream = ALL.stream()
    assert stream.feed("sk-ant-" + "a1B2" * ALL.longest) == "[redacted:apiKeys]"
    for _ in range(1000):
        assert stream.feed("x9" * 50) == ""
    assert len(stream._buffer) < 10
    assert stream.feed(" end ") + stream.finish() == " end "


@pytest.mark.parametrize("unit", ["4111 ", 'password="', "api_key=", "DE89 ", "basic aaaaaaaa ", "eyJaaaaaaaaaa"])
def test_time_grows_with_the_text_only(unit, monkeypatch):
    searches = []
    for length in (10_000, 20_000):
        stream = ALL.stream()
        calls = _Counting(ALL.any)
        monkeypatch.setattr(ALL, "any", calls)
        stream.feed(unit * (length // len(unit)), last=True)
        monkeypatch.undo()
        searches.append(calls.number)
    assert searches[1] <= searches[0] * 2 + 10


class _Counting:
    def __init__(self, expression):
        self.expression, self.number = expression, 0

    def search(self, *arguments):
        self.number += 1
        return self.expression.search(*arguments)


@pytest.mark.parametrize("kind", Redaction)
def test_only_the_kinds_asked_for_are_blotted_out(kind):
    redactor = Redactor([kind])
    for other, text in SECRETS:
        assert set(redactor.redact(re.sub("[«»]", "", text))[1]) <= {kind}, other


def test_no_kinds_blot_out_nothing():
    assert all(Redactor([]).redact(text) == (text, {}) for text in TEXTS)
    assert pieces(Redactor([]), ["password: ", "hunter2"]) == "password: hunter2"


def test_addresses_are_left_alone_unless_asked_for():
    assert Redactor(DEFAULT_REDACTIONS).redact("mail bob@example.com")[0] == "mail bob@example.com"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"password": "hunter two"}, {"password": "[redacted:passwords]"}),
        ({"db": {"PASSWORD": "x"}}, {"db": {"PASSWORD": "[redacted:passwords]"}}),
        ({"password": "${DB_PASSWORD}"}, {"password": "${DB_PASSWORD}"}),
        ({"password": 7}, {"password": 7}),
        ({"api_key": "a1b2c3d4e5"}, {"api_key": "[redacted:apiKeys]"}),
        ({"apiKey": "a1b2c3d4e5"}, {"apiKey": "[redacted:apiKeys]"}),
        ({"token_count": 12, "secret": "none"}, {"token_count": 12, "secret": "none"}),
        (["card 4111111111111111", None, True, 1.5], ["card [redacted:creditCards]", None, True, 1.5]),
        ({"card": 4111111111111111}, {"card": "[redacted:creditCards]"}),
        ({"4111111111111111": 1}, {"[redacted:creditCards]": 1}),
        ("password: hunter2", "password: [redacted:passwords]"),
        (17, 17),
    ],
)
def test_json_value_is_redacted(value, expected):
    assert ALL.redact_json(value) == expected


def test_what_is_nested_too_deep_is_not_passed_on():
    value = "sk-ant-" + "a1B2" * 10
    for _ in range(MAX_DEPTH * 40):
        value = [value]
    redacted = str(ALL.redact_json(value))
    assert TOO_DEEP in redacted
    assert "a1B2" not in redacted
