"""Who is let in, and what the others are told."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm
from starlette.datastructures import Headers

from agent_api.live_document import AccessDocument, JwtDocument, LiveDocument
from agent_runtime.access.caller import ANONYMOUS, Caller
from agent_runtime.access.control import AccessControl
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.live import Live

KEY = ed25519.Ed25519PrivateKey.generate()
JWKS = json.dumps({"keys": [json.loads(OKPAlgorithm.to_jwk(KEY.public_key()))]})
JWT = JwtDocument(issuer="issuer", audiences=("agents",), jwks=JWKS)
API_KEY = "key-of-alice-1234"


@dataclass
class LiveStub:
    access: AccessDocument = field(default_factory=AccessDocument)
    read: bool = True

    def usable(self):
        return self.read

    def current(self):
        return LiveDocument(access=self.access)


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "alice").write_text(API_KEY)
    return tmp_path


def token(**claims):
    body = {"iss": "issuer", "aud": "agents", "sub": "bob", "exp": int(time.time()) + 300} | claims
    return jwt.encode(body, KEY, "EdDSA")


def headers(*pairs):
    return Headers(raw=[(name.encode(), value.encode()) for name, value in pairs])


def bearer(value):
    return ("authorization", f"Bearer {value}")


def refused(control, *pairs):
    with pytest.raises(Problem) as problem:
        control.authenticate(headers(*pairs))
    return problem.value


def control(directory, *, api_keys=False, jwt_document=None):
    return AccessControl(LiveStub(AccessDocument(api_keys=api_keys, jwt=jwt_document)), directory)


def test_without_access_everybody_is_let_in():
    assert AccessControl(LiveStub(), None).authenticate(headers()) == Caller(ANONYMOUS, "none")


def test_without_access_callers_name_themselves():
    caller = AccessControl(LiveStub(), None).authenticate(headers(("x-user-id", "carol"), bearer("ignored")))
    assert caller == Caller("carol", "none")
    assert caller.named("dave") == caller
    assert Caller().named("dave") == Caller("dave", "none")
    assert Caller().named(None) == Caller()


@pytest.mark.parametrize("name", ["", " carol", "x" * 300, "a\tb"])
def test_name_that_is_none_is_refused(name):
    assert refused(AccessControl(LiveStub(), None), ("x-user-id", name)).status == 400
    with pytest.raises(Problem, match="user_id"):
        Caller().named(name)


def test_name_in_the_header_is_the_one_that_a_body_would_give():
    caller = AccessControl(LiveStub(), None).authenticate(headers(("x-user-id", "José")))
    assert caller == Caller().named("José")


def test_header_that_is_no_utf_8_is_refused_by_name():
    raw = Headers(raw=[(b"x-user-id", b"Jos\xe9")])
    with pytest.raises(Problem, match=r"x-user-id.*UTF-8"):
        AccessControl(LiveStub(), None).authenticate(raw)


@pytest.mark.parametrize(
    ("access", "keys", "told"),
    [
        (AccessDocument(), {}, ""),
        (AccessDocument(api_keys=True), {"alice": API_KEY}, ""),
        (AccessDocument(api_keys=True), {}, "holds no key"),
        (AccessDocument(api_keys=True), {"alice": API_KEY, "bob": API_KEY}, "several users"),
        (AccessDocument(api_keys=True, jwt=JWT), {}, ""),
    ],
)
def test_access_that_lets_nobody_in_says_why(tmp_path, access, keys, told):
    for user, key in keys.items():
        (tmp_path / user).write_text(key)
    wrong = AccessControl(LiveStub(access), tmp_path).unreadiness()
    assert (told in wrong) if told else wrong == ""


def test_pod_that_could_let_somebody_in_stays_ready_when_the_keys_go(tmp_path):
    (tmp_path / "alice").write_text(API_KEY)
    access = AccessControl(LiveStub(AccessDocument(api_keys=True)), tmp_path)
    assert access.unreadiness() == ""
    (tmp_path / "alice").unlink()
    assert access.unreadiness() == ""


def test_access_that_is_not_known_yet_is_told_elsewhere():
    assert AccessControl(LiveStub(AccessDocument(api_keys=True), read=False), None).unreadiness() == ""


def test_access_by_keys_without_a_place_for_them_says_so():
    assert "missing" in AccessControl(LiveStub(AccessDocument(api_keys=True)), None).unreadiness()


@pytest.mark.parametrize("pair", [bearer(API_KEY), ("x-api-key", API_KEY), ("authorization", f"bearer   {API_KEY} ")])
def test_api_key_names_the_user(directory, pair):
    assert control(directory, api_keys=True).authenticate(headers(pair)) == Caller("alice", "api-key")


def test_token_names_the_user(directory):
    assert control(None, jwt_document=JWT).authenticate(headers(bearer(token()))) == Caller("bob", "jwt")


@pytest.mark.parametrize(
    ("pairs", "caller"),
    [
        ([bearer(API_KEY)], Caller("alice", "api-key")),
        ([("x-api-key", API_KEY)], Caller("alice", "api-key")),
        ([("x-api-key", API_KEY), bearer("wrong")], Caller("alice", "api-key")),
        ([bearer(token())], Caller("bob", "jwt")),
        ([bearer(token()), ("x-api-key", "wrong")], Caller("bob", "jwt")),
        ([bearer(token()), ("x-api-key", API_KEY)], Caller("bob", "jwt")),
    ],
)
def test_with_both_configured_either_is_enough(directory, pairs, caller):
    assert control(directory, api_keys=True, jwt_document=JWT).authenticate(headers(*pairs)) == caller


def test_where_access_is_on_nobody_names_himself(directory):
    both = control(directory, api_keys=True, jwt_document=JWT)
    for pair in (bearer(API_KEY), bearer(token())):
        caller = both.authenticate(headers(pair, ("x-user-id", "root")))
        assert caller.user in ("alice", "bob")
        assert caller.named("root") == caller
    assert refused(both, ("x-user-id", "root")).status == 401


@pytest.mark.parametrize("user", [ANONYMOUS])
def test_credential_of_a_user_called_anonymous_cannot_be_renamed(user):
    assert Caller(user, "jwt").named("root") == Caller(user, "jwt")


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("authorization", "Basic YTpi")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer  ")],
        [("x-api-key", "")],
    ],
)
def test_request_without_credentials_is_told_what_is_expected(directory, pairs):
    problem = refused(control(directory, api_keys=True, jwt_document=JWT), *pairs)
    assert (problem.type, problem.status) == (ProblemType.UNAUTHORIZED, 401)
    assert problem.response().headers["www-authenticate"] == 'Bearer realm="greylag"'
    assert problem.detail == (
        "Credentials are required: send a token of the agent's issuer or an API key as Authorization: Bearer,"
        " or an API key as x-api-key."
    )


def test_api_key_header_counts_only_where_keys_are_configured():
    assert refused(control(None, jwt_document=JWT), ("x-api-key", API_KEY)).detail.startswith(
        "Credentials are required"
    )


@pytest.mark.parametrize(
    ("api_keys", "jwt_document", "pair", "reason"),
    [
        (True, None, bearer("wrong"), "The API key is not known"),
        (True, None, ("x-api-key", "wrong"), "The API key is not known"),
        (True, None, bearer(token()), "The API key is not known"),
        (False, JWT, bearer("wrong"), "The token is malformed"),
        (False, JWT, bearer(token(aud="others")), "The token is for another audience"),
        (True, JWT, bearer(token(exp=1)), "The token has expired"),
        (True, JWT, bearer("wrong"), "The API key is not known"),
    ],
)
def test_bad_credential_is_refused_with_the_reason(directory, api_keys, jwt_document, pair, reason):
    problem = refused(control(directory, api_keys=api_keys, jwt_document=jwt_document), pair)
    assert (problem.type, problem.status, problem.detail) == (ProblemType.UNAUTHORIZED, 401, reason + ".")
    assert problem.response().headers["www-authenticate"] == (
        f'Bearer realm="greylag", error="invalid_token", error_description="{reason}"'
    )


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_credential_given_twice_is_refused(directory, name):
    problem = refused(control(directory, api_keys=True), (name, f"Bearer {API_KEY}"), (name, "other"))
    assert (problem.status, problem.response().headers["www-authenticate"]) == (
        400,
        'Bearer realm="greylag", error="invalid_request"',
    )


@pytest.mark.parametrize(
    ("api_keys", "jwt_document", "pair"),
    [
        (True, None, bearer(API_KEY)),
        (True, JWT, bearer("wrong")),
        (True, JWT, ("x-api-key", API_KEY)),
        (False, JWT.model_copy(update={"jwks": "{}"}), bearer(token())),
    ],
)
@pytest.mark.parametrize("mounted", [True, False])
def test_what_is_configured_and_cannot_be_checked_lets_nobody_in(tmp_path, api_keys, jwt_document, pair, mounted):
    problem = refused(control(tmp_path if mounted else None, api_keys=api_keys, jwt_document=jwt_document), pair)
    assert (problem.type, problem.status) == (ProblemType.ACCESS_UNAVAILABLE, 503)
    assert "retry-after" in problem.response().headers


def test_the_other_credential_still_lets_in(tmp_path):
    both = control(tmp_path / "absent", api_keys=True, jwt_document=JWT)
    assert both.authenticate(headers(bearer(token()))) == Caller("bob", "jwt")


def test_live_document_that_was_never_read_lets_nobody_in(tmp_path):
    path = tmp_path / "live.json"
    path.write_text("{broken")
    assert refused(AccessControl(Live(path), None)).type is ProblemType.ACCESS_UNAVAILABLE


def test_live_document_that_is_not_there_configures_nothing(tmp_path):
    assert AccessControl(Live(tmp_path / "live.json"), None).authenticate(headers()) == Caller()


def test_live_document_that_must_be_there_and_is_not_lets_nobody_in(tmp_path, monkeypatch):
    monkeypatch.setattr("agent_runtime.live.CHECK_SECONDS", 0)
    path = tmp_path / "live.json"
    access = AccessControl(Live(path, required=True), None)
    assert refused(access).type is ProblemType.ACCESS_UNAVAILABLE
    path.write_text(LiveDocument().model_dump_json())
    assert access.authenticate(headers()) == Caller()
    path.unlink()
    assert access.authenticate(headers()) == Caller()


def test_live_document_that_breaks_later_leaves_the_last_in_force(tmp_path, directory, monkeypatch):
    monkeypatch.setattr("agent_runtime.live.CHECK_SECONDS", 0)
    path = tmp_path / "live.json"
    path.write_text(LiveDocument(access=AccessDocument(api_keys=True)).model_dump_json())
    access = AccessControl(Live(path), directory)
    assert access.authenticate(headers(bearer(API_KEY))).user == "alice"
    path.write_text("{broken, and longer than before" * 20)
    assert access.authenticate(headers(bearer(API_KEY))).user == "alice"
    assert refused(access).status == 401


def test_access_that_is_switched_on_is_in_force_at_once(directory):
    live = LiveStub()
    access = AccessControl(live, directory)
    access.authenticate(headers())
    live.access = AccessDocument(api_keys=True)
    assert refused(access).status == 401


@settings(max_examples=300, deadline=None)
@given(
    value=st.text(st.characters(max_codepoint=255), max_size=60),
    name=st.sampled_from(["authorization", "x-api-key"]),
    scheme=st.sampled_from(["", "Bearer ", "bearer ", "Basic "]),
)
def test_no_guess_is_let_in_and_no_secret_is_told(tmp_path_factory, value, name, scheme):
    directory = tmp_path_factory.getbasetemp() / "guessed-keys"
    directory.mkdir(exist_ok=True)
    (directory / "alice").write_text(API_KEY)
    access = control(directory, api_keys=True, jwt_document=JWT)
    with pytest.raises(Problem) as problem:
        access.authenticate(Headers(raw=[(name.encode(), (scheme + value).encode("latin-1"))]))
    response = problem.value.response()
    assert response.status_code == 401
    assert API_KEY not in response.body.decode() + str(response.headers)
    if len(value) > 20:
        assert value not in json.loads(response.body)["detail"]
