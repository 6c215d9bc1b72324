"""JSON Web Tokens: what is accepted, and everything that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from agent_api.live_document import JwtDocument
from agent_runtime.access import tokens
from agent_runtime.access.tokens import KeysUnavailable, TokenInvalid, TokenVerifier, read_keys

ISSUER = "https://issuer.example"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_384_KEY = ec.generate_private_key(ec.SECP384R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(key, algorithm, **members):
    return json.loads(algorithm.to_jwk(key)) | members


RSA_JWK = jwk(RSA_KEY.public_key(), RSAAlgorithm, kid="rsa-1")
EC_JWK = jwk(EC_KEY.public_key(), ECAlgorithm, kid="ec-1")
EC_384_JWK = jwk(EC_384_KEY.public_key(), ECAlgorithm, kid="ec-2")
ED_JWK = jwk(ED_KEY.public_key(), OKPAlgorithm, kid="ed-1")


def document(*keys, **members):
    keys = keys or (RSA_JWK, EC_JWK, EC_384_JWK, ED_JWK)
    return JwtDocument(**{"issuer": ISSUER, "audiences": ("agents",), "jwks": json.dumps({"keys": keys})} | members)


def token(key=RSA_KEY, algorithm="RS256", kid="rsa-1", headers=None, **claims):
    now = int(time.time())
    body = {"iss": ISSUER, "aud": "agents", "sub": "alice", "exp": now + 300, "iat": now} | claims
    header = ({"kid": kid} if kid is not None else {}) | (headers or {})
    told = {name: _moment(value, now) for name, value in body.items() if value is not None}
    return jwt.encode(told, key, algorithm, header)


def _moment(value, now):
    """A time that is told as a distance from now is one when the token is made, not when tests are collected."""
    return now + value.total_seconds() if isinstance(value, timedelta) else value


def forged(header, body=None, signature=b""):
    body = body or {"iss": ISSUER, "aud": "agents", "sub": "alice", "exp": int(time.time()) + 300}
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def refused(offered, using=None):
    with pytest.raises(TokenInvalid) as refusal:
        TokenVerifier().subject_of(offered, using or document())
    return str(refusal.value)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        *((RSA_KEY, algorithm, "rsa-1") for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (EC_KEY, "ES256", "ec-1"),
        (EC_384_KEY, "ES384", "ec-2"),
        (ED_KEY, "EdDSA", "ed-1"),
        (RSA_KEY, "RS256", None),
        (EC_KEY, "ES256", None),
    ],
)
def test_good_token_names_its_subject(key, algorithm, kid):
    assert TokenVerifier().subject_of(token(key, algorithm, kid), document()) == "alice"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["others", "agents"]},
        {"exp": timedelta(seconds=-20)},
        {"nbf": timedelta(seconds=20)},
        {"iat": timedelta(seconds=20)},
        {"iat": None},
        {"sub": "auth0|5f7c"},
    ],
)
def test_token_within_the_rules_and_the_leeway_is_good(claims):
    assert TokenVerifier().subject_of(token(**claims), document()) == claims.get("sub", "alice")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": timedelta(seconds=-40)}, "expired"),
        ({"exp": None}, "lacks"),
        ({"exp": "soon"}, "malformed"),
        ({"nbf": timedelta(seconds=300)}, "not valid yet"),
        ({"iat": timedelta(seconds=300)}, "not valid yet"),
        ({"aud": "others"}, "audience"),
        ({"aud": ["a", "b"]}, "audience"),
        ({"aud": []}, "lacks"),
        ({"aud": None}, "lacks"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "lacks"),
        ({"sub": None}, "lacks"),
        ({"sub": ""}, "names no user"),
        ({"sub": " alice"}, "names no user"),
        ({"sub": "a\nb"}, "names no user"),
        ({"sub": "x" * 300}, "names no user"),
    ],
)
def test_token_outside_the_rules_is_refused_with_the_reason(claims, reason):
    assert reason in refused(token(**claims))


def test_number_as_subject_is_refused():
    body = {"iss": ISSUER, "aud": "agents", "sub": 7, "exp": int(time.time()) + 300}
    signed = jwt.api_jws.encode(json.dumps(body).encode(), RSA_KEY, "RS256", {"kid": "rsa-1"})
    refused(signed)


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", "HS256", "HS512", "ES256K", "RS1", None, 7])
def test_algorithm_that_is_not_asymmetric_is_refused(algorithm):
    refused(forged({"alg": algorithm, "typ": "JWT", "kid": "rsa-1"}))
    refused(forged({"alg": algorithm, "typ": "JWT"}))


@pytest.mark.parametrize("form", [serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1])
def test_public_key_is_no_shared_secret(form):
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, form)
    unsigned = forged({"alg": "HS256", "kid": "rsa-1"}).rpartition(".")[0]
    for secret in (pem, pem.strip(), json.dumps(RSA_JWK).encode(), RSA_JWK["n"].encode()):
        signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
        refused(f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_key_that_comes_with_the_token_is_not_used():
    own = jwk(OTHER_RSA_KEY.public_key(), RSAAlgorithm)
    for kid in ("rsa-1", None, "own"):
        refused(token(OTHER_RSA_KEY, kid=kid, headers={"jwk": own, "jku": "https://evil.example/jwks"}))


def test_critical_extension_that_nobody_knows_is_refused():
    refused(token(headers={"crit": ["exp2"], "exp2": 1}))


def test_key_id_selects_the_key():
    assert "not accepted" in refused(token(kid="ec-1"))
    assert "not accepted" in refused(token(kid="unknown"))


def test_key_without_id_is_tried_for_any_token():
    bare = {name: value for name, value in RSA_JWK.items() if name != "kid"}
    assert TokenVerifier().subject_of(token(kid="whatever"), document(bare)) == "alice"


def test_of_several_fitting_keys_the_right_one_is_found():
    others = [jwk(OTHER_RSA_KEY.public_key(), RSAAlgorithm), RSA_JWK]
    assert TokenVerifier().subject_of(token(kid=None), document(*others)) == "alice"
    assert "signature" in refused(token(OTHER_RSA_KEY, kid="rsa-1"))


@pytest.mark.parametrize(
    "member",
    [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "rsa-1"},
        RSA_JWK | {"use": "enc"},
        RSA_JWK | {"key_ops": ["encrypt"]},
        RSA_JWK | {"alg": "HS256"},
        RSA_JWK | {"n": "AQAB"},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": ["RSA"]},
        "text",
        None,
        7,
    ],
)
def test_key_that_cannot_be_used_is_left_out(member):
    assert read_keys(json.dumps({"keys": [member]})) == ()
    assert len(read_keys(json.dumps({"keys": [member, EC_JWK]}))) == 1


def test_short_rsa_key_is_left_out():
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be refused
    assert read_keys(json.dumps({"keys": [jwk(weak.public_key(), RSAAlgorithm)]})) == ()


def test_private_key_in_the_set_is_used_as_a_public_one():
    [key] = read_keys(json.dumps({"keys": [jwk(RSA_KEY, RSAAlgorithm, key_ops=["sign", "verify"])]}))
    assert not hasattr(key.key, "private_numbers")


def test_declared_algorithm_is_the_only_one():
    only = document(RSA_JWK | {"alg": "PS256"})
    assert TokenVerifier().subject_of(token(algorithm="PS256"), only) == "alice"
    refused(token(algorithm="RS256"), only)


@pytest.mark.parametrize("jwks", ["", "{", "[]", "{}", '{"keys": 7}', '{"keys": []}', '{"keys": [null]}', "[" * 20_000])
def test_set_without_a_usable_key_lets_nobody_in(jwks):
    with pytest.raises(KeysUnavailable):
        TokenVerifier().subject_of(token(), document(jwks=jwks))


def test_rotated_keys_are_in_force_at_once():
    verifier, offered = TokenVerifier(), token()
    assert verifier.subject_of(offered, document(RSA_JWK)) == "alice"
    with pytest.raises(TokenInvalid):
        verifier.subject_of(offered, document(EC_JWK))
    assert verifier.subject_of(token(EC_KEY, "ES256", "ec-1"), document(EC_JWK)) == "alice"
    with pytest.raises(TokenInvalid):
        verifier.subject_of(token(EC_KEY, "ES256", "ec-1"), document(EC_JWK, audiences=("other",)))


def test_good_token_is_remembered_until_it_expires(monkeypatch):
    now = time.time()
    verifier, using, offered = TokenVerifier(lambda: now), document(), token(exp=now + 10)
    verifier.subject_of(offered, using)
    monkeypatch.setattr(tokens.jwt, "decode", lambda *_, **__: pytest.fail("was decoded again"))
    assert verifier.subject_of(offered, using) == "alice"
    monkeypatch.undo()
    now += 39
    assert verifier.subject_of(offered, using) == "alice"
    now += 2
    monkeypatch.setattr(tokens.jwt, "decode", _expired)
    with pytest.raises(TokenInvalid):
        verifier.subject_of(offered, using)
    assert not verifier._good


def _expired(*_, **__):
    raise jwt.ExpiredSignatureError


def test_number_of_remembered_tokens_is_bounded(monkeypatch):
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    verifier, using = TokenVerifier(), document()
    for number in range(6):
        verifier.subject_of(token(ED_KEY, "EdDSA", "ed-1", sub=f"user-{number}"), using)
    assert [user for user, _ in verifier._good.values()] == ["user-3", "user-4", "user-5"]


def test_bad_tokens_are_not_remembered():
    verifier = TokenVerifier()
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            verifier.subject_of(token(aud="others"), document())
    assert not verifier._good


def test_too_long_token_is_refused_unread():
    assert "too long" in refused("a" * 20_000)


GOOD = token()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_token_of_which_anything_was_changed_is_refused(data):
    place = data.draw(st.integers(0, len(GOOD) - 1))
    other = data.draw(st.sampled_from("ABCDEFabcdef0123456789-_.=+/ \n\xe9"))
    changed = GOOD[:place] + other + GOOD[place + 1 :]
    if _decoded(changed) == _decoded(GOOD):
        return
    refused(changed)


def _decoded(text):
    """What the parts of a token mean: the last letter of base64 has bits that mean nothing."""
    try:
        return [base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True) for part in text.split(".")]
    except ValueError:
        return None


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=80)
    | st.lists(st.binary(max_size=20).map(lambda b: base64.urlsafe_b64encode(b).decode()), max_size=5).map(".".join)
)
def test_any_text_is_refused_without_failing(text):
    refused(text)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2)
        | st.just({}),
        min_size=1,
    )
)
def test_signed_claims_of_any_type_never_fail(claims):
    body = {"iss": ISSUER, "aud": "agents", "sub": "alice", "exp": int(time.time()) + 300} | claims
    signed = jwt.api_jws.encode(json.dumps(body).encode(), ED_KEY, "EdDSA", {"kid": "ed-1"})
    try:
        TokenVerifier().subject_of(signed, document())
    except TokenInvalid:
        return
    assert body["aud"] == "agents" or "agents" in body["aud"]
    assert body["iss"] == ISSUER
