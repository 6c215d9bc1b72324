"""What a JSON Web Key Set must be before tokens are checked by it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

MAX_KEYS = 64
MIN_RSA_BYTES = 256
PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
CURVE_BYTES: Mapping[str, int] = MappingProxyType({"P-256": 32, "P-384": 48, "P-521": 66})
"""Length of a coordinate by curve."""
ED25519_BYTES = 32
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_WAY_OUT = "paste the document that the issuer serves at its jwks_uri"


@lru_cache(maxsize=64)
def key_set_fault(text: str) -> str | None:
    """What is wrong with a key set, and the way out; None if tokens can be checked by it.

    The text is never quoted: it may hold a private key by mistake.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return f"is not JSON; {_WAY_OUT}"
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return f"is no JSON Web Key Set, an object whose `keys` is a list of objects; {_WAY_OUT}"
    if len(keys) > MAX_KEYS:
        return f"has {len(keys)} keys, at most {MAX_KEYS} are read; leave out those that no token is signed by"
    for position, key in enumerate(keys):
        private = next((member for member in PRIVATE_MEMBERS if member in key), None)
        if private is not None:
            return (
                f"keys[{position}] has the private member {private!r}: everybody who reads this object has the key;"
                " make a new key pair and paste only the public half"
            )
    if not any(is_usable(key) for key in keys):
        return f"has no key that signatures can be checked by (RSA of 2048 bits, EC, Ed25519; use: sig); {_WAY_OUT}"
    return None


def is_usable(key: Mapping[str, Any]) -> bool:
    """Whether signatures can be checked by a public key."""
    operations = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return False
    match key.get("kty"):
        case "RSA":
            return _length(key, "n") >= MIN_RSA_BYTES and _length(key, "e") > 0
        case "EC":
            size = CURVE_BYTES.get(str(key.get("crv")))
            return size is not None and _length(key, "x") == size and _length(key, "y") == size
        case "OKP":
            return key.get("crv") == "Ed25519" and _length(key, "x") == ED25519_BYTES
        case _:
            return False


def _length(key: Mapping[str, Any], member: str) -> int:
    """Bytes of a member in base64url; 0 if it is none."""
    value = key.get(member)
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value) or len(value) % 4 == 1:
        return 0
    return len(value) * 3 // 4
