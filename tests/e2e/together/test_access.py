"""Who may ask an agent: keys of a Secret that are changed while it serves, and tokens of an issuer."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.asking import ask
from tests.support.cluster_store import put_secret
from tests.support.lab import Team

KUBELET_SECONDS = 120
ISSUER, AUDIENCE = "https://idp.example", "agents"


@dataclass
class Issuer:
    """Signs tokens, and publishes its key."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def rule(self) -> dict[str, Any]:
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        keys = json.dumps({"keys": [{**public, "kid": "key-1", "alg": "ES256", "use": "sig"}]})
        return {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": keys}

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        defaults = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600}
        return jwt.encode({**defaults, **claims}, self.key, "ES256", {"kid": "key-1"})


def _with(url: str, credential: str) -> tuple[int, str]:
    answer = ask(url, authorization=f"Bearer {credential}")
    return answer.status, answer.kind


def _lets_in(url: str, issuer: Issuer) -> bool:
    return _with(url, issuer.token())[0] == 200


@pytest.mark.timeout(240)
def test_keys_let_their_holders_in_and_are_changed_without_a_restart(team: Team) -> None:
    put_secret(team, "keys", {"alice": "sk-alice-old", "bob": "sk-bob"})
    team.apply(team.agent("support", replicas=2, access={"apiKeysSecretRef": {"name": "keys"}}))
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    url, pods = team.url("support"), team.runtime_pods("support")
    refused = ask(url)
    assert (refused.status, refused.kind) == (401, "unauthorized")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert _with(url, "sk-mallory") == (401, "unauthorized")
    assert _with(url, "sk-alice-old") == (200, "")
    assert ask(url, x_api_key="sk-bob").status == 200

    put_secret(team, "keys", {"alice": "sk-alice-new", "bob": "sk-bob"})

    def everywhere() -> bool:
        return all(_with(url, "sk-alice-new")[0] == 200 and _with(url, "sk-alice-old")[0] == 401 for _ in range(8))

    team.wait_for("the new key on both pods", everywhere, KUBELET_SECONDS)
    assert _with(url, "sk-bob") == (200, "")
    assert team.runtime_pods("support") == pods
    assert team.status("support")["stableRevision"] == stable


@pytest.mark.timeout(240)
def test_good_tokens_are_let_in_by_either_address_and_bad_ones_refused(team: Team) -> None:
    issuer, other = Issuer(), Issuer()
    manifest = team.agent("support")
    team.apply(manifest)
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    url, pods = team.url("support"), team.runtime_pods("support")
    assert ask(url).status == 200
    manifest["spec"]["access"] = {"jwt": issuer.rule()}
    team.apply(manifest)
    team.wait_for("access to be on", lambda: ask(url).status == 401, 30)
    door = team.find(f"/api/v1/namespaces/{team.namespace}/services/greylag")
    assert door is not None
    by_door = f"http://{door['spec']['clusterIP']}/agents/support"
    for address in (url, by_door):
        # The pod takes over what the gateway knew at once with the kubelet's next look.
        team.wait_for(f"a good token at {address}", partial(_lets_in, address, issuer), 30)
        for token in (
            "no-token",
            other.token(),
            issuer.token(exp=int(time.time()) - 3600),
            issuer.token(aud="somebody"),
            issuer.token(iss="https://evil.example"),
        ):
            assert _with(address, token) == (401, "unauthorized")
        assert ask(address).headers["www-authenticate"].startswith("Bearer")
    assert team.runtime_pods("support") == pods
    assert team.status("support")["stableRevision"] == stable
