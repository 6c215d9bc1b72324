"""Failed calls, and the one line that a person reads."""

from __future__ import annotations

import json

import pytest

from agentctl.cluster.failures import Call, agent_not_found, failure
from agentctl.errors import ApiError, MissingError, UnreachableError

PATCH = Call("patch", "agentdeployments.greylag.dev", "team-a", "support")
STATUS = json.dumps({"kind": "Status", "message": "no\nsuch"})
TABLE = [
    (401, STATUS, ApiError, "does not accept your credentials"),
    (403, STATUS, ApiError, "missing permission: patch agentdeployments.greylag.dev in namespace team-a"),
    (403, STATUS, ApiError, "kubectl auth can-i patch agentdeployments.greylag.dev -n team-a"),
    (404, STATUS, MissingError, "agentdeployments.greylag.dev support not found in namespace team-a"),
    (
        404,
        "404 page not found\n",
        ApiError,
        "is not installed in this cluster; install Greylag: helm upgrade",
    ),
    (422, STATUS, ApiError, "refused to patch agentdeployments.greylag.dev in namespace team-a: no such"),
    (429, STATUS, UnreachableError, "answered 429"),
    (503, b"<html>\n busy</html>", UnreachableError, "<html> busy</html>"),
    (0, None, UnreachableError, "no message"),
]


@pytest.mark.parametrize(("status", "body", "kind", "text"), TABLE)
def test_an_answer_becomes_one_line_of_its_kind(status: int, body: str, kind: type[ApiError], text: str) -> None:
    error = failure(PATCH, status, body)
    assert type(error) is kind
    assert text in str(error)
    assert "\n" not in str(error)


def test_a_missing_permission_in_all_namespaces_says_so() -> None:
    error = failure(Call("list", "agentdeployments.greylag.dev", None), 403, STATUS)
    assert "list agentdeployments.greylag.dev in all namespaces" in str(error)
    assert str(error).endswith("-A)")


def test_a_name_far_from_all_lists_what_exists_within_bounds() -> None:
    text = str(agent_not_found("zzz", "team-a", [f"agent-{number:02}" for number in range(12)]))
    assert "there is: agent-00, agent-01" in text
    assert text.endswith("and 2 more")


def test_a_name_where_nothing_is_points_to_the_other_namespaces() -> None:
    assert "look in all namespaces with `get -A`" in str(agent_not_found("zzz", "team-a", []))
