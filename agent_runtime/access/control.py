"""Who may ask: the first thing that is known of a request."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from agent_api.meta import USER_HEADER
from agent_runtime.access.api_keys import MISSING, ApiKeys, ApiKeysUnavailable
from agent_runtime.access.caller import Caller, user_of_header
from agent_runtime.access.tokens import KeysUnavailable, TokenInvalid, TokenVerifier
from agent_runtime.errors import Problem, ProblemType

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.datastructures import Headers

    from agent_api.live_document import AccessDocument
    from agent_runtime.live import Live

API_KEY_HEADER = "x-api-key"
_CHALLENGE = 'Bearer realm="greylag"'
_NO_KEY = "The API key is not known"


class AccessControl:
    """Authenticates requests by the live document; what is configured and cannot be used lets nobody in."""

    def __init__(self, live: Live, api_keys_directory: Path | None) -> None:
        self._live = live
        self._api_keys = None if api_keys_directory is None else ApiKeys(api_keys_directory)
        self._tokens = TokenVerifier()
        self._could_let_in = False

    def authenticate(self, headers: Headers) -> Caller:
        """Caller of a request. Where several credentials are configured, one that is good is enough.

        Raises
        ------
        Problem
            401 with a challenge if there is no good credential, 400 if it is ambiguous, 503 if none can be checked.
        """
        if not self._live.usable():
            raise _unavailable("spec.access could not be read")
        access = self._live.current().access
        if not access.api_keys and access.jwt is None:
            return _self_named(headers)
        bearer, api_key = _bearer_of(headers), _only(headers, API_KEY_HEADER)
        if bearer is None and (api_key is None or not access.api_keys):
            raise _refused(None, "Credentials are required: " + _expected(access))
        return self._known(access, bearer, api_key)

    def unreadiness(self) -> str:
        """Why nobody could be let in yet; empty once somebody could.

        What breaks later is told to callers: a pod that serves is not taken away for it, nor while others with new keys
        take its place.
        """
        if not self._could_let_in and self._live.usable():
            wrong = self._unusable(self._live.current().access)
            self._could_let_in = not wrong
            return wrong
        return ""

    def _unusable(self, access: AccessDocument) -> str:
        if not access.api_keys or access.jwt is not None:
            return ""
        return MISSING if self._api_keys is None else self._api_keys.unusable()

    def _known(self, access: AccessDocument, bearer: str | None, api_key: str | None) -> Caller:
        reasons: list[str] = []
        unavailable: list[str] = []
        if access.jwt is not None and bearer is not None:
            try:
                return Caller(self._tokens.subject_of(bearer, access.jwt), "jwt")
            except TokenInvalid as error:
                reasons.append(str(error))
            except KeysUnavailable:
                unavailable.append("spec.access.jwt.jwks holds no usable key")
        if access.api_keys:
            try:
                user = self._owner(api_key, bearer)
            except ApiKeysUnavailable as error:
                unavailable.append(str(error))
            else:
                if user is not None:
                    return Caller(user, "api-key")
                reasons.append(_NO_KEY)
        if unavailable:
            raise _unavailable(" and ".join(unavailable))
        raise _refused("invalid_token", _reason(access, bearer, reasons))

    def _owner(self, *offered: str | None) -> str | None:
        if self._api_keys is None:
            raise ApiKeysUnavailable(MISSING)
        owners = [self._api_keys.user_of(key) for key in offered if key is not None]
        return next((owner for owner in owners if owner is not None), None)


def _self_named(headers: Headers) -> Caller:
    name = headers.get(USER_HEADER)
    return Caller() if name is None else Caller(user_of_header(name))


def _bearer_of(headers: Headers) -> str | None:
    value = _only(headers, "authorization")
    scheme, _, credentials = (value or "").partition(" ")
    return credentials.strip() or None if scheme.lower() == "bearer" else None


def _only(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    if len(values) > 1:
        raise Problem(
            ProblemType.INVALID_REQUEST,
            HTTPStatus.BAD_REQUEST,
            f"The header {name} may be given once.",
            headers={"www-authenticate": f'{_CHALLENGE}, error="invalid_request"'},
        )
    return values[0].strip() or None if values else None


def _expected(access: AccessDocument) -> str:
    kinds = ["a token of the agent's issuer"] if access.jwt is not None else []
    kinds += ["an API key"] if access.api_keys else []
    header = f", or an API key as {API_KEY_HEADER}" if access.api_keys else ""
    return f"send {' or '.join(kinds)} as Authorization: Bearer{header}."


def _reason(access: AccessDocument, bearer: str | None, reasons: list[str]) -> str:
    # With both configured, what looks like a token is told why it is none; everything else is taken for a key.
    looks_like_token = bearer is not None and bearer.count(".") == 2  # noqa: PLR2004 - header, claims, signature
    return reasons[0] if access.jwt is not None and (looks_like_token or not access.api_keys) else _NO_KEY


def _refused(error: str | None, reason: str) -> Problem:
    challenge = _CHALLENGE if error is None else f'{_CHALLENGE}, error="{error}", error_description="{reason}"'
    detail = reason if reason.endswith(".") else reason + "."
    return Problem(ProblemType.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED, detail, headers={"www-authenticate": challenge})


def _unavailable(cause: str) -> Problem:
    return Problem(
        ProblemType.ACCESS_UNAVAILABLE,
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"Nobody can be let in now: {cause}.",
        headers={"retry-after": "5"},
    )
