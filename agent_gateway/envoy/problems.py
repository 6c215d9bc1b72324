"""Problem documents (RFC 9457) that Envoy answers by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from agent_gateway.envoy.resources import Resource

PROBLEM_CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of refusal; `retry_after` in seconds, 0 for none."""

    slug: str
    status: int
    title: str
    detail: str
    retry_after: int = 0

    @property
    def document(self) -> Resource:
        """The body."""
        return problem_document(self.slug, self.title, self.status, self.detail)


def problem_document(slug: str, title: str, status: int | str, detail: str) -> Resource:
    """A problem; its member `error` is what clients of the OpenAI protocol read, as in the runtime's problems."""
    return {
        "type": f"urn:greylag:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "error": {"message": detail, "type": slug, "code": slug, "param": None},
    }


NOT_FOUND = Problem("not-found", 404, "Not found", "The gateway does not serve this path.")
INVALID_IDENTITY = Problem(
    "invalid-identity",
    400,
    "Invalid conversation or user id",
    "A conversation_id is 1 to 128 printable ASCII characters without spaces; a user_id has no control characters.",
)
NO_REVISION = Problem(
    "no-revision", 503, "No revision serves", "The agent has no revision yet that serves requests.", retry_after=5
)

UNKNOWN_AGENT = Problem(
    "unknown-agent", 404, "Unknown agent", "This namespace has no agent of this name; GET /agents lists them."
)
MODEL_MISSING = Problem(
    "model-missing", 400, "No agent named", "Field model of the JSON body must name an agent; GET /agents lists them."
)
NO_SUCH_PAGE = Problem(
    "not-found",
    404,
    "Not found",
    "The front door serves /agents, /agents/<name>/..., /v1/models and /v1/chat/completions.",
)


def suspended(agent: str) -> Problem:
    """The refusal of new runs of a suspended agent."""
    detail = f"The agent {agent} is suspended by its operators (spec.suspend). It takes no new runs until resumed."
    return Problem("agent-suspended", 503, "Agent suspended", detail, retry_after=60)


def direct_response(problem: Problem) -> Resource:
    """The fields of a route that answers a problem."""
    headers = {"content-type": PROBLEM_CONTENT_TYPE}
    if problem.retry_after:
        headers["retry-after"] = str(problem.retry_after)
    return _direct(problem.status, problem.document, headers)


def direct_json(document: object) -> Resource:
    """The fields of a route that answers a JSON document."""
    return _direct(HTTPStatus.OK, document, {"content-type": "application/json"})


def _direct(status: int, document: object, headers: Mapping[str, str]) -> Resource:
    return {
        "direct_response": {"status": int(status), "body": {"inline_string": json.dumps(document, ensure_ascii=False)}},
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }
