"""The simulated provider's choice of failures."""

from __future__ import annotations

import hashlib

from demo.model_server import statistics
from demo.model_server.faults import fails
from demo.model_server.statistics import OTHER_MODELS, Statistics


def test_good_model_never_fails():
    assert not any(fails("good-v1", f"request-{number}", 100) for number in range(100))


def test_bad_model_fails_by_the_hash_of_its_name_and_the_request_id():
    for number in range(200):
        share = int(hashlib.sha256(f"bad-v3\nrequest-{number}".encode()).hexdigest(), 16) % 100
        assert fails("bad-v3", f"request-{number}", 40) == (share < 40)


def test_two_bad_models_fail_independently():
    both = sum(fails("bad-1", f"request-{n}", 60) and fails("bad-2", f"request-{n}", 60) for n in range(1000))
    assert 300 < both < 420


def test_share_of_failures_is_about_the_percentage():
    assert 350 < sum(fails("bad-v3", f"request-{number}", 40) for number in range(1000)) < 450


def test_statistics_stay_bounded(monkeypatch):
    monkeypatch.setattr(statistics, "MAX_MODELS", 2)
    monkeypatch.setattr(statistics, "MAX_FAILED_IDS", 3)
    counted = Statistics()
    for number in range(10):
        counted.count(f"model-{number}", f"request-{number}", failed=True)
    assert counted.report() == {
        "calls": {"model-0": 1, "model-1": 1, OTHER_MODELS: 8},
        "failures": {"model-0": 1, "model-1": 1, OTHER_MODELS: 8},
        "failedRequests": 3,
        "failedRequestIds": ["request-7", "request-8", "request-9"],
    }
