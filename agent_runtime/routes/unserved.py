"""What is told of a path or a method that the agent does not serve: what it serves instead."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from agent_runtime.errors import Problem, ProblemType, openai_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_PREFIX = "/v1"
_MAX_PATH_CHARACTERS = 100
_PROTOCOL_PAGES = "the agent answers POST /v1/chat/completions and GET /v1/models."


class ServedPaths:
    """The paths of an application, with the methods that each takes."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = [(route.path_regex, route.methods or ()) for route in routes if isinstance(route, Route)]

    def methods_of(self, path: str) -> list[str]:
        """Methods that a path takes; none if it is not served."""
        return sorted({method for regex, methods in self._routes if regex.match(path) for method in methods})


def http_error_handler(paths: ServedPaths) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Answers with a problem document where HTTP itself refuses a request."""

    async def answer(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        problem = _problem(paths, request.method, request.scope["path"], error)
        members = {"error": openai_error(problem)} if _is_protocol(paths, request.scope["path"]) else {}
        return problem.response(request_id=request.state.request_id, **members)

    return answer


def _problem(paths: ServedPaths, method: str, path: str, error: HTTPException) -> Problem:
    asked = f"{method} {path[:_MAX_PATH_CHARACTERS]} is not served"
    match HTTPStatus(error.status_code):
        case HTTPStatus.NOT_FOUND as status:
            return Problem(ProblemType.NOT_FOUND, status, f"{asked}; {_instead(paths, path)}")
        case HTTPStatus.METHOD_NOT_ALLOWED as status:
            taken = ", ".join(paths.methods_of(path))
            detail = f"{asked}; the path takes {taken}."
            return Problem(ProblemType.METHOD_NOT_ALLOWED, status, detail, headers={"allow": taken})
        case status:
            return Problem(ProblemType.HTTP_ERROR, status, status.description or status.phrase, headers=error.headers)


def _instead(paths: ServedPaths, path: str) -> str:
    bare = path.rstrip("/")
    if bare != path and paths.methods_of(bare):
        return f"the path is {bare[:_MAX_PATH_CHARACTERS]}, without a slash at its end."
    if _begins_with_prefix(path):
        return _PROTOCOL_PAGES
    if paths.methods_of(_PREFIX + bare):
        return "the base URL of an OpenAI client must end in /v1."
    return "GET /openapi.json describes what is."


def _is_protocol(paths: ServedPaths, path: str) -> bool:
    """Whether a client of the OpenAI protocol asks, perhaps by a base URL without its last part."""
    return _begins_with_prefix(path) or bool(paths.methods_of(_PREFIX + path.rstrip("/")))


def _begins_with_prefix(path: str) -> bool:
    return path == _PREFIX or path.startswith(f"{_PREFIX}/")
