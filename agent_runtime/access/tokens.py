"""JSON Web Tokens of one issuer, checked against its public keys."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
import structlog

from agent_runtime.access.caller import is_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.live_document import JwtDocument

LEEWAY_SECONDS = 30
MAX_TOKEN_CHARACTERS = 16 * 1024
MAX_REMEMBERED = 4096
MIN_RSA_BITS = 2048
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
"""By type and curve of a key. Only asymmetric ones: a public key must never serve as a shared secret."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired"),
    (jwt.ImmatureSignatureError, "The token is not valid yet"),
    (jwt.InvalidAudienceError, "The token is for another audience"),
    (jwt.InvalidIssuerError, "The token is of another issuer"),
    (jwt.InvalidSignatureError, "The signature of the token does not match"),
    (jwt.MissingRequiredClaimError, "The token lacks one of the claims exp, iss, aud and sub"),
    (jwt.DecodeError, "The token is malformed"),
)
_log = structlog.get_logger("agent_runtime.access")


class TokenInvalid(Exception):
    """The token is refused; the message is for the caller and quotes nothing of it."""


class KeysUnavailable(Exception):
    """There is no public key to check a token with."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: str | None
    algorithms: tuple[str, ...]
    key: Any


class TokenVerifier:
    """Checks tokens by the document in force; those found good are remembered until they expire."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._document: JwtDocument | None = None
        self._keys: tuple[_Key, ...] = ()
        self._good: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def subject_of(self, token: str, document: JwtDocument) -> str:
        """Claim `sub` of a good token.

        Raises
        ------
        TokenInvalid
            If it is not good.
        KeysUnavailable
            If the document has no usable key.
        """
        self._follow(document)
        if not self._keys:
            raise KeysUnavailable
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._good.get(digest)
        if known is not None and self._clock() < known[1]:
            self._good.move_to_end(digest)
            return known[0]
        self._good.pop(digest, None)
        claims = self._verified(token, document)
        if not is_user(claims["sub"]):
            raise TokenInvalid("The claim sub of the token names no user")
        self._remember(digest, claims)
        return str(claims["sub"])

    def _follow(self, document: JwtDocument) -> None:
        if document is not self._document and document != self._document:
            self._keys = read_keys(document.jwks)
            self._good.clear()
        self._document = document

    def _remember(self, digest: bytes, claims: dict[str, Any]) -> None:
        self._good[digest] = (claims["sub"], float(claims["exp"]) + LEEWAY_SECONDS)
        if len(self._good) > MAX_REMEMBERED:
            self._good.popitem(last=False)

    def _verified(self, token: str, document: JwtDocument) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenInvalid("The token is too long")
        try:
            return self._decoded(token, document)
        except TokenInvalid:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a hostile token causes, it is refused
            reasons = (reason for kind, reason in _REASONS if isinstance(error, kind))
            raise TokenInvalid(next(reasons, "The token is not valid")) from None

    def _decoded(self, token: str, document: JwtDocument) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        keys = [key for key in self._keys if key_id is None or key.id is None or key.id == key_id]
        fitting = [key for key in keys if algorithm in key.algorithms]
        if not fitting:
            raise TokenInvalid("The token is signed with a key or an algorithm that is not accepted")
        for position, key in enumerate(fitting, 1):
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[str(algorithm)],
                    audience=document.audiences,
                    issuer=document.issuer,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["exp", "iss", "aud", "sub"]},
                )
            except jwt.InvalidSignatureError:
                if position == len(fitting):
                    raise
        raise TokenInvalid("The token is not valid")


def read_keys(jwks: str) -> tuple[_Key, ...]:
    """Public keys of a JSON Web Key Set that can be used; what cannot is left out, and said in the log."""
    try:
        members = json.loads(jwks)["keys"]
        keys = [_read_key(member) for member in members]
    except (ValueError, KeyError, TypeError, RecursionError):
        _log.warning("jwks is no JSON Web Key Set")
        return ()
    return tuple(key for key in keys if key is not None)


def _read_key(member: dict[str, Any]) -> _Key | None:
    try:
        algorithms = _ALGORITHMS[member["kty"], member.get("crv")]
        declared = member.get("alg")
        accepted = tuple(name for name in algorithms if declared in (None, name))
        public = {name: value for name, value in member.items() if name not in _PRIVATE_MEMBERS}
        if not accepted or member.get("use", "sig") != "sig" or "verify" not in member.get("key_ops", ["verify"]):
            return None
        key = jwt.PyJWK(public, accepted[0]).key
    except Exception as error:  # noqa: BLE001 - a key that cannot be read is one that nothing is checked with
        _log.warning("a key of jwks cannot be used", cause=type(error).__name__)
        return None
    if member["kty"] == "RSA" and key.key_size < MIN_RSA_BITS:
        _log.warning("a key of jwks is too short", bits=key.key_size)
        return None
    return _Key(member.get("kid"), accepted, key)
