"""The objects that the demo applies. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

from agent_api.meta import API_VERSION
from demo.prices import Price
from demo.settings import Provider

Manifest = dict[str, Any]
NAMESPACE = "demo"
AGENT = "support"
MODELS = "models"
MODELS_PORT = 8000
TOOLS = "shop"
TOOLS_PORT = 8001
TRAFFIC = "traffic"
TRAFFIC_PORT = 8090
SECRET = "provider"  # noqa: S105 - the name of an object
SECRET_KEY = "api-key"  # noqa: S105 - the name of a key
BAD_PERCENT = 60
LATENCY_MS = 30
SIMULATED_URL = f"http://{MODELS}.{NAMESPACE}.svc.cluster.local:{MODELS_PORT}/v1"
SIMULATED_PRICE = Price("0.15", "0.60")

_RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the agent: what it is told and the models it asks, the first and then its fallbacks."""

    name: str
    instructions: str
    models: tuple[str, ...]


def versions(provider: Provider | None) -> tuple[Version, Version, Version]:
    """Three versions: the first, a good one and a bad one."""
    first = Version("v1", "You answer questions of customers.", ("good-v1",))
    good = Version("v2", "You answer questions of customers in at most three sentences.", ("good-v2",))
    bad = replace(good, name="v3", models=("bad-1", "bad-2"))
    if provider is None:
        return first, good, bad
    return (
        replace(first, models=(provider.stable_model,)),
        replace(good, models=(provider.better_model,)),
        replace(bad, models=(provider.broken_model,)),
    )


def make_namespace(name: str = NAMESPACE) -> Manifest:
    """Namespace that admits only restricted pods."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def make_model_server(image: str, namespace: str = NAMESPACE, bad_percent: int = BAD_PERCENT) -> tuple[Manifest, ...]:
    """The simulated provider and its Service."""
    variables = {"BAD_PERCENT": str(bad_percent), "LATENCY_MS": str(LATENCY_MS), "PORT": str(MODELS_PORT)}
    return _workload(MODELS, namespace, image, "demo.model_server", variables, MODELS_PORT)


def make_tool_server(image: str, namespace: str = NAMESPACE) -> tuple[Manifest, ...]:
    """The shop whose API the agent may call, and its Service."""
    return _workload(TOOLS, namespace, image, "demo.tool_server", {"PORT": str(TOOLS_PORT)}, TOOLS_PORT)


def make_traffic(
    image: str, namespace: str = NAMESPACE, agent: str = AGENT, name: str = TRAFFIC
) -> tuple[Manifest, ...]:
    """The clients of one agent and the Service that controls them."""
    variables = {"AGENT_URL": f"http://{agent}.{namespace}.svc.cluster.local", "PORT": str(TRAFFIC_PORT)}
    return _workload(name, namespace, image, "demo.traffic", variables, TRAFFIC_PORT)


def make_secret(provider: Provider) -> Manifest:
    """Secret with the provider's key."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "data": {SECRET_KEY: base64.b64encode(provider.key.encode()).decode()},
    }


def make_agent(
    version: Version,
    provider: Provider | None = None,
    base_url: str = SIMULATED_URL,
    price: Price | None = SIMULATED_PRICE,
) -> Manifest:
    """The AgentDeployment at one version; without a price its budgets count tokens alone."""
    main, *others = (_endpoint(model, base_url, price, has_key=provider is not None) for model in version.models)
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentDeployment",
        "metadata": {"name": AGENT, "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            "agent": {"instructions": version.instructions, "timeout": "30s"},
            "model": main,
            "fallback": others,
            "resilience": _resilience(),
            "budgets": _budgets(has_price=price is not None),
            "rateLimits": {"requestsPerMinute": 60_000, "perUserPerMinute": 60_000, "maxConcurrent": 500},
            "tools": [_tools()],
            "toolPolicy": _tool_policy(),
            "rollout": _rollout(),
        },
    }


def _endpoint(model: str, base_url: str, price: Price | None, *, has_key: bool) -> Manifest:
    endpoint: Manifest = {"name": model, "baseURL": base_url, "parameters": {"maxOutputTokens": 64}}
    if price is not None:
        endpoint["price"] = {"inputPerMillion": price.input_per_million, "outputPerMillion": price.output_per_million}
    if has_key:
        endpoint["apiKeySecretRef"] = {"name": SECRET, "key": SECRET_KEY}
    return endpoint


def _resilience() -> Manifest:
    # A breaker that opens would spare runs a model that fails, and the report computes which runs must fail.
    breaker = {"failureThreshold": 10_000, "failurePercent": 100}
    return {"maxAttempts": 2, "baseDelay": "20ms", "maxDelay": "100ms", "circuitBreaker": breaker}


def _budgets(*, has_price: bool) -> Manifest:
    """Limits that the demo's traffic does not reach."""
    if not has_price:
        return {"perRequest": {"tokens": 20_000}}
    return {
        "perRequest": {"costUSD": "0.10", "tokens": 20_000},
        "perUserDaily": {"costUSD": "50"},
        "daily": {"costUSD": "100"},
    }


def _tools() -> Manifest:
    url = f"http://{TOOLS}.{NAMESPACE}.svc.cluster.local:{TOOLS_PORT}"
    return {"name": "shop", "http": {"openAPI": {"url": f"{url}/openapi.json"}, "baseURL": url}, "idempotent": ["get*"]}


def _tool_policy() -> Manifest:
    """Orders may be looked up; money is given back for what was damaged alone; the rest of the API is not offered."""
    return {
        "default": "Deny",
        "rules": [
            {"tools": ["shop.getOrder", "shop.refundOrder"], "action": "Allow", "maxCallsPerRun": 5},
            {"tools": ["shop.refundOrder"], "action": "Deny", "when": "!args.reason.contains('damaged')"},
        ],
        "timeout": "10s",
    }


def _rollout() -> Manifest:
    return {
        "canary": {
            "steps": [{"setWeight": 20}, {"analyze": {}}, {"setWeight": 50}, {"analyze": {}}],
            "analysis": {"metrics": [{"name": "errorRate", "maxIncrease": "0.05"}], "minSamples": 30},
        },
        "conversationDrain": "60s",
        "progressDeadline": "2m",
    }


def _workload(
    name: str, namespace: str, image: str, module: str, variables: dict[str, str], port: int
) -> tuple[Manifest, ...]:
    labels = {"app.kubernetes.io/name": name}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 1},
        "securityContext": _RESTRICTED_CONTAINER,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": _RESTRICTED_POD,
        "containers": [container],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"name": "http", "port": port, "targetPort": port}]},
    }
    return deployment, service
