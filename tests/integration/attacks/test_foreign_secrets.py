"""Secrets that others made up, and honest texts of others, through the redactor: whole, and cut anywhere."""

from __future__ import annotations

import pytest

from agent_api.v1alpha1.guards import Redaction
from agent_runtime.core.redaction import Redactor
from tests.integration.attacks.secret_samples import secret_samples

REDACTOR = Redactor(kind for kind in Redaction if kind is not Redaction.EMAILS)
MIN_SAMPLES = 300
MIN_RULES = 100
LEAST_SHARE = 0.85
"""What is missed is known by its place alone (data of a Secret, a vendor's variable of any name), or is very short."""

LONGEST_STREAMED = 600
MOST_IN_A_MEGABYTE = 1.0


@pytest.fixture(scope="module")
def samples(packages):
    return secret_samples(packages)


def test_secrets_of_others_are_blotted_out(samples):
    assert len(samples) >= MIN_SAMPLES
    blotted = [sample for sample in samples if sample.secret not in REDACTOR.redact(sample.text)[0]]
    assert len({sample.rule for sample in blotted}) >= MIN_RULES
    assert len(blotted) / len(samples) >= LEAST_SHARE


def test_a_stream_cut_at_any_byte_gives_what_the_whole_text_does(samples):
    for text in {sample.text for sample in samples if len(sample.text) <= LONGEST_STREAMED}:
        whole, _ = REDACTOR.redact(text)
        encoded = text.encode()
        for cut in range(1, len(encoded)):
            # Inside of a character, the half of it comes with the rest.
            first = encoded[:cut].decode(errors="ignore")
            stream = REDACTOR.stream()
            assert stream.feed(first) + stream.feed(text[len(first) :]) + stream.finish() == whole, (cut, text)


def test_a_stream_of_single_characters_gives_what_the_whole_text_does(samples):
    for text in {sample.text for sample in samples if len(sample.text) <= LONGEST_STREAMED}:
        stream = REDACTOR.stream()
        assert "".join(map(stream.feed, text)) + stream.finish() == REDACTOR.redact(text)[0]


def test_honest_sources_are_left_alone(packages):
    files = [file for name in ("pip", "setuptools") for file in sorted((packages.installed / name).rglob("*.py"))]
    texts = [file.read_text(errors="replace") for file in files]
    megabytes = sum(map(len, texts)) / 1e6
    assert megabytes >= 1
    found = sum(sum(REDACTOR.redact(text)[1].values()) for text in texts)
    assert found / megabytes <= MOST_IN_A_MEGABYTE
