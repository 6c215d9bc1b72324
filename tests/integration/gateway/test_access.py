"""Tokens at the gateway: early refusal, rotation, and the user as the key of the split."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import agent_gateway.control.convergence
from agent_gateway.envoy.render_access import ACCESS_FILTER

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Lab

from tests.integration.gateway.conftest import AGENT, TIMEOUT, eventually

PROBLEM = "application/problem+json"
ISSUER, AUDIENCE = "https://idp.example", "agents"


@dataclass
class Issuer:
    """Signs tokens, and publishes its key."""

    name: str = "key-1"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> dict[str, Any]:
        document = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**document, "kid": self.name, "alg": "ES256", "use": "sig"}

    def token(self, subject: str = "alice", **claims: Any) -> str:
        now = int(time.time())
        defaults = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600}
        return jwt.encode({**defaults, **claims}, self.key, "ES256", {"kid": self.name})


def rule(*issuers: Issuer) -> dict[str, Any]:
    """Field `jwt` of a route."""
    keys = json.dumps({"keys": [issuer.public for issuer in issuers]})
    return {"issuer": ISSUER, "audiences": ["others", AUDIENCE], "jwks": keys}


async def ask(lab: Lab, token: str = "", path: str = "/agent/run", **headers: str) -> tuple[int, dict[str, Any]]:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    if token:
        named["authorization"] = f"Bearer {token}"
    async with lab.client.post(lab.url(path), json={}, headers=named) as response:
        return response.status, json.loads(await response.text())


async def side(lab: Lab, token: str = "", path: str = "/agent/run", **headers: str) -> str:
    status, answer = await ask(lab, token, path, **headers)
    assert status == 200
    return str(answer["revision"])


async def test_only_good_tokens_reach_the_agent(lab: Lab) -> None:
    issuer, other = Issuer(), Issuer()
    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer)))
    status, answer = await ask(lab, issuer.token(), x_greylag_subject="root")
    assert status == 200
    assert answer["headers"]["authorization"].startswith("Bearer ")
    assert "x-greylag-subject" not in answer["headers"]
    old = int(time.time()) - 3600
    bad = {
        "missing": "",
        "no token": "secret-key",
        "expired": issuer.token(exp=old),
        "not yet": issuer.token(nbf=int(time.time()) + 3600),
        "forged": other.token(),
        "other issuer": issuer.token(iss="https://evil.example"),
        "other audience": issuer.token(aud="somebody"),
        "no audience": issuer.token(aud=None),
        "unsigned": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice"}, None, "none"),
    }
    for what, token in bad.items():
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with lab.client.post(lab.url(), json={}, headers=headers) as response:
            problem = json.loads(await response.text())
            assert (response.status, response.content_type) == (401, PROBLEM), what
            assert response.headers.getall("www-authenticate") == ["Bearer"], what
        assert problem["type"] == "urn:greylag:problem:unauthorized"
        assert problem["error"]["code"] == "unauthorized"
        assert problem["status"] == 401
        assert problem["detail"]
        assert not token or token not in str(problem)


@pytest.mark.parametrize(
    "path", ["/agent/run", "/agent/tasks", "/agent/tasks/7", "/v1/models", "//agent/run", "/x/../v1/models"]
)
async def test_every_page_of_the_agent_is_protected(lab: Lab, path: str) -> None:
    await lab.apply(lab.route({"v1": 100}, jwt=rule(Issuer())))
    assert (await ask(lab, path=path))[0] == 401


async def test_probes_stay_open_and_a_token_in_the_query_is_none(lab: Lab) -> None:
    issuer = Issuer()
    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer)))
    async with lab.client.get(lab.url("/health")) as response:
        assert response.status == 200
    async with lab.client.post(lab.url(f"/agent/run?access_token={issuer.token()}"), json={}) as response:
        assert response.status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_front_door_leaves_access_to_the_agent(lab: Lab, scheme: str) -> None:
    issuer = Issuer()
    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer)))
    for path in (f"/agents/{AGENT}/agent/run", "/v1/chat/completions"):
        async with lab.client.post(lab.door(path), json={"model": AGENT}) as response:
            assert (response.status, response.content_type) == (401, PROBLEM)
            assert response.headers.getall("www-authenticate") == ["Bearer"]
        headers = {"authorization": f"{scheme} {issuer.token()}"}
        async with lab.client.post(lab.door(path), json={"model": AGENT}, headers=headers) as response:
            assert response.status == 200


async def test_one_agents_tokens_open_no_other_agent(lab: Lab) -> None:
    issuer, other = Issuer(), Issuer()
    lab.put_endpoints("other-v1", lab.upstreams["v1"].port)
    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer)))
    await lab.apply(lab.route({"v1": 100}, "other", jwt=rule(other)))
    await lab.apply(lab.route({"v1": 100}, "open"))
    for agent, expected in ((AGENT, 200), ("other", 401)):
        headers = {"authorization": f"Bearer {issuer.token()}"}
        async with lab.client.post(lab.url(agent=agent), json={}, headers=headers) as response:
            assert response.status == expected
    async with lab.client.post(lab.url(agent="open"), json={}) as response:
        assert response.status == 503


@asynccontextmanager
async def undisturbed(lab: Lab) -> AsyncIterator[aiohttp.ClientSession]:
    """One connection and one stream, which both last; no listener changes meanwhile."""
    created: list[object] = []
    trace = aiohttp.TraceConfig()

    async def note(*event: object) -> None:
        created.append(event)

    trace.on_connection_create_end.append(note)
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT, connector=connector, trace_configs=[trace]) as session,
        lab.client.get(lab.url("/events")) as stream,
    ):
        assert await stream.content.readline() == b"data: first\n"
        before = await lab.admin.stats(r"^listener_manager\.listener_(added|modified|removed)$")
        yield session
        after = await lab.admin.stats(r"^listener_manager\.listener_(added|modified|removed)$")
        lab.upstreams["v1"].gate.set()
        assert b"data: last" in await stream.content.read()
    assert len(created) == 1
    assert after == before


async def test_keys_rotate_without_a_change_of_a_listener_or_a_lost_connection(lab: Lab) -> None:
    first, second = Issuer("key-1"), Issuer("key-2")
    async with undisturbed(lab) as session:

        async def status(token: str = "") -> int:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            # without a body: Envoy closes a connection whose request it refused before its end
            async with session.get(lab.url("/agent/tasks/7"), headers=headers) as response:
                await response.read()
                return response.status

        async def statuses() -> list[int]:
            return [await status(), await status(first.token()), await status(second.token())]

        assert await statuses() == [200, 200, 200]
        for issuers, expected in (
            ((first,), [401, 200, 401]),
            ((first, second), [401, 200, 200]),
            ((second,), [401, 401, 200]),
            ((), [200, 200, 200]),
        ):
            access = {"jwt": rule(*issuers)} if issuers else {}
            await lab.apply(lab.route({"v1": 100}, **access))
            assert await statuses() == expected


async def test_no_good_token_is_refused_while_keys_rotate_under_load(lab: Lab) -> None:
    first, second = Issuer("key-1"), Issuer("key-2")
    await lab.apply(lab.route({"v1": 100}, jwt=rule(first, second)))
    failures: list[Any] = []
    stop = asyncio.Event()

    async def caller(issuer: Issuer) -> None:
        token = issuer.token()
        while not stop.is_set():
            answer = await ask(lab, token)
            if answer[0] != 200:
                failures.append(answer)

    callers = [asyncio.create_task(caller(issuer)) for issuer in (second,) * 4]
    for number in range(20):
        await lab.apply(lab.route({"v1": 100}, jwt=rule(second, *([first] * (number % 2)))))
    stop.set()
    await asyncio.gather(*callers)
    assert failures == []


async def test_beside_api_keys_the_runtime_decides(lab: Lab) -> None:
    issuer = Issuer()
    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer), apiKeys=True))
    for token in ("", "secret-key", Issuer().token(), issuer.token()):
        assert (await ask(lab, token))[0] == 200


@pytest.mark.parametrize("path", ["/agent/run", "/v1/chat/completions"])
async def test_a_subject_never_moves_back_while_the_weight_grows(lab: Lab, path: str) -> None:
    issuer = Issuer()
    last: set[int] = set()
    for weight in (5, 20, 50, 100):
        weights = {"v1": 100 - weight, "v2": weight}
        await lab.apply(lab.route(weights, stickiness="User", jwt=rule(issuer)))
        now = {
            user
            for user in range(60)
            if await side(lab, issuer.token(f"user-{user}", jti=f"{weight}"), path, x_user_id=f"x-{weight}") == "v2"
        }
        assert last <= now
        last = now
    assert len(last) == 60


async def test_the_subject_and_nothing_that_the_client_says_decides(lab: Lab) -> None:
    issuer = Issuer()
    await lab.apply(lab.route({"v1": 50, "v2": 50}, stickiness="User", jwt=rule(issuer)))
    sides = {user: await side(lab, issuer.token(user)) for user in map(str, range(40))}
    assert 5 <= sum(found == "v2" for found in sides.values()) <= 35
    for user, expected in sides.items():
        token = issuer.token(user, jti="another")
        assert await side(lab, token, x_user_id="a", x_greylag_subject="b") == expected
        async with lab.client.post(
            lab.url(), json={"user_id": "c"}, headers={"authorization": f"Bearer {token}"}
        ) as response:
            assert (await response.json())["revision"] == expected


@pytest.mark.parametrize("access", [{"apiKeys": True}, {"apiKeys": True, "jwt": rule(Issuer())}])
async def test_an_api_key_keeps_its_side_in_either_header(lab: Lab, access: dict[str, Any]) -> None:
    await lab.apply(lab.route({"v1": 50, "v2": 50}, stickiness="User", **access))
    sides = {key: await side(lab, f"key-{key}") for key in range(40)}
    assert 5 <= sum(found == "v2" for found in sides.values()) <= 35
    for key, expected in sides.items():
        assert await side(lab, f"key-{key}", x_user_id="a") == expected
        assert await side(lab, x_api_key=f"key-{key}") == expected
        assert await side(lab, authorization=f"bearer key-{key}") == expected


async def test_rules_that_envoy_rejects_are_one_agents_error(lab: Lab, monkeypatch: Any) -> None:
    render, issuer = agent_gateway.control.convergence.render_agent, Issuer()

    def broken(*args: Any, **options: Any) -> Any:
        config = render(*args, **options)
        if config.agent == AGENT:
            matcher = config.host["typed_per_filter_config"][ACCESS_FILTER]["xds_matcher"]
            matcher["on_no_match"]["action"]["typed_config"] = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return config

    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer)))
    good = lab.serial
    with monkeypatch.context() as patched:
        patched.setattr(agent_gateway.control.convergence, "render_agent", broken)
        lab.gateway.store.put_route(lab.route({"v1": 100}, jwt=rule(issuer, Issuer("key-2"))))
        await lab.apply(lab.route({"v1": 100}, "other", jwt=rule(issuer)))
        await eventually(lambda: (a := lab.applied()) is not None and "rejected" in a.error, "the rejection shows")
        applied = lab.applied()
        assert applied is not None
        assert applied.serial == good
        assert (await ask(lab, issuer.token()))[0] == 200
        assert (await ask(lab))[0] == 401
    await lab.apply(lab.route({"v1": 100}))
    assert (await ask(lab))[0] == 200


@pytest.mark.parametrize("keys", ["{}", "not JSON", '{"keys": []}', "[]"])
async def test_keys_that_are_none_keep_the_last_good_ones(lab: Lab, keys: str) -> None:
    issuer = Issuer()
    await lab.apply(lab.route({"v1": 100}, jwt=rule(issuer)))
    lab.gateway.store.put_route(lab.route({"v1": 100}, jwt={**rule(issuer), "jwks": keys}))
    await eventually(lambda: (a := lab.applied()) is not None and "jwks" in a.error, "the error shows")
    assert (await ask(lab, issuer.token()))[0] == 200
    assert (await ask(lab))[0] == 401


async def test_rules_outlive_envoy_and_end_with_their_agent(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 100}, jwt=rule(Issuer())))
    await lab.envoy.kill()
    await lab.envoy.start()
    await eventually(lab.admin.live, "Envoy comes back")

    async def refused() -> bool:
        try:
            return (await ask(lab))[0] == 401
        except aiohttp.ClientError:
            return False

    await eventually(refused, "the rules are in force again")
    lab.gateway.store.drop_route(AGENT)
    await eventually(lambda: lab.applied() is None, "it is gone")
    assert ISSUER not in (lab.settings.config_dir / "rds.json").read_text()
