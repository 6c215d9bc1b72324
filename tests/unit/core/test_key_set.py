"""Key sets by which tokens are checked: public, readable, and with a key that can be used."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_operator.core.key_set import MAX_KEYS, PRIVATE_MEMBERS, is_usable, key_set_fault

RSA = {"kty": "RSA", "n": "u" * 342 + "Q", "e": "AQAB"}
P256 = {"kty": "EC", "crv": "P-256", "x": "x" * 43, "y": "y" * 43}
ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "x" * 43}


def fault_of(*keys):
    return key_set_fault(json.dumps({"keys": list(keys)}))


@pytest.mark.parametrize(
    "key",
    [
        RSA,
        P256,
        ED25519,
        {"kty": "EC", "crv": "P-384", "x": "x" * 64, "y": "y" * 64},
        {"kty": "EC", "crv": "P-521", "x": "x" * 88, "y": "y" * 88},
        RSA | {"use": "sig", "alg": "RS256", "kid": "1", "x5c": ["MII"]},
        RSA | {"key_ops": ["verify"]},
    ],
)
def test_a_set_with_a_key_for_signatures_is_accepted(key):
    assert fault_of(key) is None


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"kty": "RSA"},
        {"kty": "rsa", "n": RSA["n"], "e": "AQAB"},
        RSA | {"n": "u" * 171},
        RSA | {"n": "u" * 342 + "+"},
        RSA | {"n": 7},
        RSA | {"e": ""},
        RSA | {"use": "enc"},
        RSA | {"key_ops": ["encrypt"]},
        RSA | {"key_ops": "verify"},
        P256 | {"x": "x" * 42},
        P256 | {"crv": "secp256k1"},
        P256 | {"crv": ["P-256"]},
        {"kty": "OKP", "crv": "X25519", "x": "x" * 43},
        {"kty": "oct"},
    ],
)
def test_a_key_that_cannot_check_signatures_is_not_enough(key):
    assert not is_usable(key)
    assert "has no key that signatures can be checked by" in str(fault_of(key))
    assert fault_of(key, RSA) is None


@pytest.mark.parametrize("member", PRIVATE_MEMBERS)
def test_a_private_member_is_refused_and_never_quoted(member):
    fault = fault_of(P256, RSA | {member: "s3cr3t"})
    assert fault is not None
    assert fault.startswith(f"keys[1] has the private member {member!r}")
    assert "s3cr3t" not in fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"keys": {}}',
        '{"keys": ["a"]}',
        '{"keys": [null]}',
        "[" * 100_000,
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_text_that_is_no_key_set_is_refused_with_the_way_out(text):
    assert "jwks_uri" in str(key_set_fault(text))


def test_too_many_keys_are_refused():
    assert fault_of(*[RSA] * MAX_KEYS) is None
    assert "at most" in str(fault_of(*[RSA] * (MAX_KEYS + 1)))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*RSA, "crv", "x", "use", "key_ops"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "crv", "x", "y", "use", "key_ops", "alg"]), JSON))
def test_no_key_raises(key):
    assert isinstance(is_usable(key), bool)
