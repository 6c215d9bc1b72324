"""Agents on the laboratory whose every run has a price, and what asking them costs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from typing import Any

from tests.support.lab import Team

PRICE = {"inputPerMillion": "1", "outputPerMillion": "1000"}
HELD_MICRO = 64_000
"""What a call holds at least: 64 tokens of an answer, at 1000 micro-dollars each; it takes three or four of them."""

AT_ONCE = 4


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: Message[str, str]
    body: dict[str, Any]

    @property
    def problem(self) -> str:
        """Name of the problem, empty for an answer."""
        return str(self.body.get("type", "")).rpartition(":")[2]

    @property
    def cost_micro(self) -> int:
        """What the run cost, as it says."""
        return round(float(self.body.get("cost_usd") or 0) * 1e6)


def ask(url: str, **fields: Any) -> Answered:
    """Run an agent once."""
    body = json.dumps({"query": "hello", **fields}).encode()
    request = urllib.request.Request(f"{url}/agent/run", body, {"content-type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - an address of our own making
            return Answered(response.status, response.headers, json.load(response))
    except urllib.error.HTTPError as error:
        return Answered(error.code, error.headers, json.load(error))


def ask_many(url: str, count: int) -> list[Answered]:
    """Run an agent so often, a few at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: ask(url), range(count)))


def ask_until(url: str, status: int, most: int = 2000) -> list[Answered]:
    """Run an agent again and again until it answers with a status; one at a time, so that nothing else is held."""
    answers: list[Answered] = []
    while not answers or answers[-1].status != status:
        assert len(answers) < most, f"no {status} among {len(answers)} answers; the last: {answers[-1]}"
        answers.append(ask(url))
    return answers


def spending_agent(team: Team, name: str, daily: str, *, model: str = "good-1", **fields: Any) -> dict[str, Any]:
    """Manifest of an agent with a price and a budget of the day, in dollars."""
    manifest = team.agent(name, model=model)
    spec = manifest["spec"]
    spec["model"] |= {"price": PRICE, "parameters": {"maxOutputTokens": 64}}
    spec["budgets"] = {"daily": {"costUSD": daily}}
    for key, value in fields.items():
        spec[key] = {**spec[key], **value} if isinstance(spec.get(key), dict) and isinstance(value, dict) else value
    return manifest


def in_store(team: Team, *words: str) -> str:
    """Run a command of Redis in the namespace's trial store."""
    command = 'REDISCLI_AUTH="$(cat /var/run/greylag-store/password)" exec redis-cli "$@"'
    return team.lab.kubectl(
        "-n", team.namespace, "exec", "deployment/greylag-store", "--", "sh", "-c", command, "sh", *words
    )
