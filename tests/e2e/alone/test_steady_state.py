"""Nothing is written, made anew or restarted without a reason: applied twice, operator restarted, operator upgraded."""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.console import ROOT
from demo.environment import Environment
from demo.manifests import TOOLS, TOOLS_PORT, make_tool_server
from images.build import cache_folder, locked
from images.buildah import open_storage, run_long
from tests.support.audit import OPERATOR, Audit, describe
from tests.support.lab import SYSTEM, Team, leader
from tests.support.spending import spending_agent

QUIET_SECONDS = 60
DAILY_USD = "1000"


def _facts(team: Team, agent: str) -> dict[str, Any]:
    """What must not change: generation, revisions, pods and their restarts, gateways."""
    status = team.status(agent)
    gateways = {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))
        for pod in team.gateway_pods()
    }
    return {
        "generation": status["generation"],
        "stable": status["stableRevision"],
        "canary": status.get("canaryRevision"),
        "pods": team.runtime_pods(agent),
        "gateways": gateways,
    }


def _restart_operator(lab: Environment) -> None:
    before = leader(lab)
    pods = lab.api.get(f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector="app.kubernetes.io/component=operator")
    for pod in pods["items"]:
        lab.api.delete(f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}")
    lab.kubectl("-n", SYSTEM, "rollout", "status", "deployment/greylag-operator", "--timeout=90s")
    lab.api.await_that("a new leader", 60, lambda: leader(lab) not in {"", before} or None)


def _with_everything(team: Team) -> dict[str, Any]:
    """An agent with budgets, limits, tools and a cache on the trial store; its traffic spends a hundredth a minute."""
    shop = f"http://{TOOLS}.{team.namespace}.svc.cluster.local:{TOOLS_PORT}"
    return spending_agent(
        team,
        "support",
        DAILY_USD,
        replicas=2,
        budgets={"perRequest": {"costUSD": "1", "tokens": 100_000}, "perUserDaily": {"costUSD": DAILY_USD}},
        rateLimits={"requestsPerMinute": 60_000, "perUserPerMinute": 60_000, "maxConcurrent": 500},
        tools=[{"name": "shop", "http": {"openAPI": {"url": f"{shop}/openapi.json"}, "baseURL": shop}}],
        toolPolicy={"default": "Deny", "rules": [{"tools": ["shop.getOrder"], "action": "Allow"}]},
        cache={"ttl": "1m"},
    )


def _writes(team: Team, audit: Audit) -> list[str]:
    """What the operator, the gateway and the pods wrote to the namespace."""
    accounts = [f"system:serviceaccount:{team.namespace}:{name}" for name in ("greylag-gateway", "default")]
    return [describe(entry) for entry in audit.writes_by(team.namespace, OPERATOR, *accounts)]


@pytest.mark.timeout(600)
def test_applied_twice_restarted_and_under_traffic_nothing_is_written_but_the_lease(team: Team) -> None:
    team.apply(*make_tool_server(team.lab.images["modelserver"], team.namespace))
    manifest = _with_everything(team)
    team.apply(manifest)
    team.wait_phase("support", "Healthy")
    before = _facts(team, "support")
    with team.clients("support") as clients:
        team.wait_for("traffic", lambda: clients.journal.count > 50)
        first = team.wait_for("figures", lambda: team.status("support").get("spend"), 30)
        audit = Audit(team.lab.devcluster.audit_log)
        team.apply(manifest)
        _restart_operator(team.lab)
        asked = clients.journal.count
        end = time.monotonic() + QUIET_SECONDS
        team.wait_for("a quiet minute", lambda: time.monotonic() > end, QUIET_SECONDS + 30)
    assert _writes(team, audit) == [], "neither the restart nor what was spent since is a reason to write"
    assert _facts(team, "support") == before
    assert clients.failed() == []
    records = clients.records()[asked:]
    assert {record.status for record in records} == {200}
    assert "ok" in {record.tools for record in records}, "tools were called meanwhile"
    cost = sum(float(record.cost_usd or 0) for record in records)
    assert cost > float(DAILY_USD) / 1000, "money was spent meanwhile"
    assert team.status("support")["spend"] == first


def _upgraded_image(lab: Environment, folder: Path) -> str:
    """The operator's image with a pod template that is rendered otherwise, loaded into the cluster."""
    package = folder / "agent_operator"
    shutil.copytree(ROOT / "operator" / "agent_operator", package, ignore=shutil.ignore_patterns("__pycache__"))
    source = package / "core" / "resources" / "workload.py"
    text = source.read_text()
    changed = text.replace(
        '"enableServiceLinks": False,', '"enableServiceLinks": False,\n            "hostname": "new",'
    )
    assert changed != text
    source.write_text(changed)
    file = folder / "Dockerfile"
    lines = (
        f"FROM {lab.images['operator']}",
        "COPY agent_operator /next/agent_operator",
        "WORKDIR /next",
        "ENV PYTHONPATH=/next:/app",
    )
    file.write_text("\n".join(lines))
    image = f"localhost/greylag-operator:upgraded-{uuid.uuid4().hex[:8]}"
    archive = folder / "image.tar"
    cache = cache_folder()
    with locked(cache):
        storage = open_storage(cache)
        run_long("building the upgrade", storage.argv("bud", "--pull-never", "-t", image, str(folder)))
        run_long("saving the upgrade", storage.argv("push", "--quiet", image, f"docker-archive:{archive}:{image}"))
        run_long("forgetting the upgrade", storage.argv("rmi", image))
    lab.devcluster.load(archive)
    return image


def _with_new_field(path: Path) -> dict[str, Any]:
    """The CRD with a field that has a default."""
    crd: dict[str, Any] = yaml.safe_load(path.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["newKnob"] = {"type": "integer", "default": 7, "description": "A field of the next release."}
    return crd


@pytest.mark.timeout(600)
def test_an_upgrade_with_another_pod_template_and_a_new_defaulted_field_restarts_nothing(
    team: Team, tmp_path: Path
) -> None:
    team.apply(team.agent("support", replicas=2))
    team.wait_phase("support", "Healthy")
    before = _facts(team, "support")
    image = _upgraded_image(team.lab, tmp_path)
    new_crd = tmp_path / "crd.yaml"
    new_crd.write_text(yaml.safe_dump(_with_new_field(ROOT / "crds" / "greylag.dev_agentdeployments.yaml")))
    try:
        team.lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(new_crd))
        team.lab.install({"operator": {"image": image}, "crds": {"install": False}})
        defaulted = f"/apis/greylag.dev/v1alpha1/namespaces/{team.namespace}/agentdeployments/support"
        assert (team.find(defaulted) or {})["spec"]["newKnob"] == 7
        team.lab.api.await_that("a leader of the new image", 60, lambda: _leads_with(team.lab, image) or None)
        team.apply(team.agent("second"))
        team.wait_phase("second", "Healthy")
        assert _hostnames(team, "second") == {"new"}, "the new operator renders new revisions its own way"
        assert _facts(team, "support") == before
        assert _hostnames(team, "support") == {None}
    finally:
        old_crd = ROOT / "crds" / "greylag.dev_agentdeployments.yaml"
        team.lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(old_crd))
        team.lab.install({})


def _leads_with(lab: Environment, image: str) -> bool:
    name = leader(lab)
    pod = lab.api.find(f"/api/v1/namespaces/{SYSTEM}/pods/{name}") if name else None
    return pod is not None and pod["spec"]["containers"][0]["image"] == image


def _hostnames(team: Team, agent: str) -> set[str | None]:
    return {pod["spec"].get("hostname") for pod in team.pods(f"greylag.dev/agent={agent}")}
