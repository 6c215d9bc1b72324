"""Proxies by the environment."""

from __future__ import annotations

import pytest

from agent_runtime.proxies import proxy_of

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in (*NAMES, *map(str.upper, NAMES)):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://api.example/v1", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.example/v1", "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://api.example/v1", None),
        ({"HTTPS_PROXY": "http://me:x@proxy:3128"}, "https://api.example", "http://me:x@proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "https://api.example/v1", "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://api.example/v1", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": ".svc,localhost"}, "http://kb.team.svc/x", None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": ".svc"}, "http://kb.example/x", "http://proxy:1"),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "*"}, "http://kb.example/x", None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "kb.example:8080"}, "http://u:p@kb.example:8080/", None),
    ],
)
def test_proxy_is_the_one_that_the_environment_names(monkeypatch, environment, url, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy
