"""The chart as Helm renders it: rights, pod security, the operator's environment, the CRDs."""

import filecmp
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.toolchain import build_directory

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "greylag"
IMAGES = ("--set", "operator.image=o:1,gateway.image=g:1,runtime.image=r:1,store.image=s:1")
ENVIRONMENT = {
    "GREYLAG_GATEWAY_CLUSTER_ROLE": "greylag-gateway",
    "GREYLAG_GATEWAY_IMAGE": "g:1",
    "GREYLAG_GATEWAY_POD": "{}",
    "GREYLAG_GATEWAY_REPLICAS": "2",
    "GREYLAG_GATEWAY_TEMPLATE": "1",
    "GREYLAG_IMAGE_PULL_POLICY": "IfNotPresent",
    "GREYLAG_LEASE_NAME": "greylag-operator",
    "GREYLAG_LOG_LEVEL": "info",
    "GREYLAG_PORT_RANGE": "20000-29999",
    "GREYLAG_RUNTIME_IMAGE": "r:1",
    "GREYLAG_STORE_CLASS": "",
    "GREYLAG_STORE_IMAGE": "s:1",
    "GREYLAG_STORE_MAX_MEMORY": "256mb",
    "GREYLAG_STORE_POD": "{}",
    "GREYLAG_STORE_SIZE": "",
    "GREYLAG_STORE_TEMPLATE": "1",
    "GREYLAG_WATCH_NAMESPACES": "",
}
ALL = frozenset({"get", "list", "watch", "create", "update", "patch", "delete"})
READ = frozenset({"get", "list", "watch"})
OWN = ALL - {"update"}
OPERATOR_RIGHTS = {
    ("greylag.dev", "agentdeployments"): READ,
    ("greylag.dev", "agentdeployments/status"): {"get", "patch"},
    ("greylag.dev", "agentdeployments/finalizers"): {"update"},
    ("greylag.dev", "agentroutes"): ALL,
    ("", "configmaps"): OWN,
    ("", "services"): OWN,
    ("", "serviceaccounts"): OWN,
    ("", "persistentvolumeclaims"): OWN,
    ("", "secrets"): {"create"},
    ("", "pods"): READ,
    ("", "events"): {"create", "patch"},
    ("events.k8s.io", "events"): {"create", "patch"},
    ("apps", "deployments"): OWN,
    ("apps", "deployments/scale"): {"get", "patch", "update"},
    ("apps", "replicasets"): READ,
    ("policy", "poddisruptionbudgets"): OWN,
    ("rbac.authorization.k8s.io", "rolebindings"): OWN,
    ("rbac.authorization.k8s.io", "clusterroles"): {"bind"},
}


def find_helm() -> str:
    built = build_directory() / "bin" / "helm"
    found = str(built) if built.exists() else shutil.which("helm")
    if not found:
        if os.environ.get("CI"):
            pytest.fail("helm is neither in the devcluster's cache nor on PATH: run `python -m devcluster build`")
        pytest.skip("helm is neither in the devcluster's cache nor on PATH")
    return found


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [find_helm(), *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def render(*options: str) -> list[dict[str, Any]]:
    done = helm("template", "greylag", str(CHART), "--namespace", "greylag-system", *IMAGES, *options)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return render()


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def rules(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        if item["kind"] in {"Role", "ClusterRole"}:
            yield from item["rules"]


def rights(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_no_rule_holds_a_wildcard(objects):
    found = list(rules(objects))
    assert len(found) > 10
    for rule in found:
        assert not [word for word in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]) if "*" in word], rule


def test_secrets_may_be_created_by_the_operator_and_nothing_else_by_anybody(objects):
    touching = [rule for rule in rules(objects) if any("secret" in word for word in rule["resources"])]
    assert touching == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    role = named(objects, "ClusterRole", "greylag-operator")
    assert rights(role)["", "secrets"].isdisjoint({"get", "list", "watch", "patch", "update", "delete"})
    assert touching[0] in role["rules"]


def test_the_operator_has_exactly_the_rights_it_needs(objects):
    role = named(objects, "ClusterRole", "greylag-operator")
    assert rights(role) == OPERATOR_RIGHTS
    (bind,) = (rule for rule in role["rules"] if rule["resources"] == ["clusterroles"])
    assert bind["resourceNames"] == ["greylag-gateway"]


def test_the_gateway_reads_routes_and_endpoints_only(objects):
    role = named(objects, "ClusterRole", "greylag-gateway")
    expected = {("greylag.dev", "agentroutes"): READ, ("discovery.k8s.io", "endpointslices"): READ}
    assert rights(role) == expected


def test_the_lease_lies_in_the_release_namespace_and_bears_its_name(objects):
    role = named(objects, "Role", "greylag-operator-lease")
    assert role["metadata"]["namespace"] == "greylag-system"
    assert [rule.get("resourceNames") for rule in role["rules"]] == [None, ["greylag-operator"]]
    assert rights(role) == {("coordination.k8s.io", "leases"): {"create", "get", "update", "patch"}}


def test_rights_shrink_to_the_watched_namespaces():
    objects = render("--set", "watchNamespaces={team-a,team-b}")
    everywhere = [item["roleRef"]["name"] for item in objects if item["kind"] == "ClusterRoleBinding"]
    assert everywhere == ["greylag-operator-discovery"]
    bindings = [item for item in objects if item["kind"] == "RoleBinding" and item["roleRef"]["kind"] == "ClusterRole"]
    assert {item["metadata"]["namespace"] for item in bindings} == {"team-a", "team-b"}


def test_the_operators_pod_passes_the_restricted_standard(objects):
    pod = named(objects, "Deployment", "greylag-operator")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_operators_environment_is_complete(objects):
    (container,) = named(objects, "Deployment", "greylag-operator")["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry for entry in container["env"]}
    fields = {
        name: entry["valueFrom"]["fieldRef"]["fieldPath"] for name, entry in environment.items() if "valueFrom" in entry
    }
    assert fields == {"GREYLAG_POD_NAME": "metadata.name", "GREYLAG_POD_NAMESPACE": "metadata.namespace"}
    plain = {name: entry["value"] for name, entry in environment.items() if "value" in entry}
    resources = {name: json.loads(plain.pop(name)) for name in list(plain) if name.endswith("_RESOURCES")}
    assert plain == ENVIRONMENT
    assert set(resources) == {"GREYLAG_GATEWAY_RESOURCES", "GREYLAG_RUNTIME_RESOURCES", "GREYLAG_STORE_RESOURCES"}
    assert all(set(value) == {"requests", "limits"} for value in resources.values())


def test_the_operator_accepts_the_environment_that_the_chart_gives(objects, monkeypatch):
    settings = pytest.importorskip("agent_operator.settings")
    (container,) = named(objects, "Deployment", "greylag-operator")["spec"]["template"]["spec"]["containers"]
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry.get("value", "name"))
    unknown = {entry["name"] for entry in container["env"]} - {
        f"GREYLAG_{field.upper()}" for field in settings.Settings.model_fields
    }
    assert not unknown
    assert settings.Settings().gateway_image == "g:1"


@pytest.mark.parametrize("image", ["operator.image", "gateway.image", "runtime.image", "store.image"])
def test_a_missing_image_is_named(image):
    done = helm("template", "greylag", str(CHART), *IMAGES, "--set", f"{image}=")
    assert done.returncode != 0
    assert f"{image} is required" in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        "operator.replica=2",
        "operator.replicas=0",
        "imagePullPolicy=Sometimes",
        "portRange=abc",
        "gateway.pod.nodeSelectors.a=b",
        "gateway.pod.serviceAccountName=mine",
        "store.pod.priorityClassName=",
        "store.maxMemory=much",
        "store.storage.size=1 Gi",
        "watchNamespaces={A_b}",
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(value):
    done = helm("template", "greylag", str(CHART), *IMAGES, "--set", value)
    assert done.returncode != 0
    assert value.partition("=")[0].rpartition(".")[2] in done.stderr


def test_the_charts_crds_are_the_generated_ones():
    generated, copies = ROOT / "crds", CHART / "files" / "crds"
    names = sorted(path.name for path in generated.glob("*.yaml"))
    assert names
    assert sorted(path.name for path in copies.iterdir()) == names
    _, different, errors = filecmp.cmpfiles(generated, copies, names, shallow=False)
    assert not different + errors, "run `make crds`"


def test_crds_outlive_the_release_and_are_rendered_unchanged(objects):
    crds = {item["metadata"]["name"]: item for item in objects if item["kind"] == "CustomResourceDefinition"}
    assert set(crds) == {"agentdeployments.greylag.dev", "agentroutes.greylag.dev"}
    for path in (ROOT / "crds").glob("*.yaml"):
        generated = yaml.safe_load(path.read_text(encoding="utf-8"))
        rendered = crds[generated["metadata"]["name"]]
        assert rendered["spec"] == generated["spec"]
        assert rendered["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_crds_can_be_left_out():
    assert not [item for item in render("--set", "crds.install=false") if item["kind"] == "CustomResourceDefinition"]


def test_network_policies_are_opt_in(objects):
    assert not [item for item in objects if item["kind"] == "NetworkPolicy"]
    policies = render("--set", "networkPolicy.enabled=true,watchNamespaces={team-a}")
    places = {item["metadata"]["namespace"] for item in policies if item["kind"] == "NetworkPolicy"}
    assert places == {"greylag-system", "team-a"}


def policies_of(*values: str) -> dict[str, Any]:
    """Specs of the NetworkPolicies by name."""
    given = ",".join(("networkPolicy.enabled=true", "watchNamespaces={team-a}", *values))
    return {
        item["metadata"]["name"]: item["spec"] for item in render("--set", given) if item["kind"] == "NetworkPolicy"
    }


PROMETHEUS = "networkPolicy.prometheus[0].namespaceSelector.matchLabels.team=monitoring"


def test_the_control_port_of_gateways_is_open_to_the_operator_alone():
    clients, control = policies_of()["greylag-gateways"]["ingress"]
    assert "from" not in clients
    assert clients["ports"] == [{"port": 8086}, {"port": 20000, "endPort": 29999}]
    assert control["ports"] == [{"port": 8085}]
    (operator,) = control["from"]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "greylag-system"}


@pytest.mark.parametrize("name", ["greylag-gateways", "greylag-revisions"])
def test_prometheus_is_let_in_by_a_value(name):
    wanted = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    assert wanted not in policies_of()[name]["ingress"][-1]["from"]
    assert wanted in policies_of(PROMETHEUS)[name]["ingress"][-1]["from"]


def test_what_leaves_the_pods_is_ruled_by_a_value():
    assert all(spec["policyTypes"] == ["Ingress"] for spec in policies_of().values())
    ruled = {name: spec for name, spec in policies_of("networkPolicy.egress=true").items() if "egress" in spec}
    assert set(ruled) == {"greylag-operator", "greylag-gateways", "greylag-revisions"}
    names, runtimes = ruled["greylag-gateways"]["egress"]
    assert {entry["port"] for entry in names["ports"]} == {53, 443, 6443}
    assert runtimes["ports"] == [{"port": 8080}]


def test_the_trial_store_is_reached_by_runtime_pods_only():
    policies = render("--set", "networkPolicy.enabled=true,watchNamespaces={team-a}")
    policy = named([item for item in policies if item["kind"] == "NetworkPolicy"], "NetworkPolicy", "greylag-store")
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "store"
    (rule,) = policy["spec"]["ingress"]
    (source,) = rule["from"]
    assert source["podSelector"]["matchExpressions"] == [{"key": "greylag.dev/revision", "operator": "Exists"}]


@pytest.mark.parametrize(("range_", "taken"), [("8000-9000", "8085"), ("9900-9999", "9901")])
def test_a_range_that_holds_a_port_of_the_gateway_is_refused(range_, taken, monkeypatch):
    settings = pytest.importorskip("agent_operator.settings")
    for name in ("POD_NAME", "POD_NAMESPACE", "RUNTIME_IMAGE", "GATEWAY_IMAGE", "STORE_IMAGE"):
        monkeypatch.setenv(f"GREYLAG_{name}", "x")
    monkeypatch.setenv("GREYLAG_PORT_RANGE", range_)
    with pytest.raises(ValueError, match=taken):
        settings.Settings()


def environment(*options: str) -> dict[str, Any]:
    pod = named(render(*options), "Deployment", "greylag-operator")["spec"]["template"]["spec"]
    return {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}


@pytest.mark.parametrize("part", ["gateway", "store"])
def test_the_placement_of_what_agents_share_reaches_the_operator(part):
    placement = {
        "nodeSelector": {"pool": "edge"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "infrastructure",
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
    }
    given = environment("--set-json", f"{part}.pod={json.dumps(placement)}")
    assert json.loads(given[f"GREYLAG_{part.upper()}_POD"]) == placement


def test_gateways_roll_by_one_explicit_value_only():
    before, after = environment(), environment("--set-string", "gateway.template=2")
    assert {name for name in before if before[name] != after[name]} == {"GREYLAG_GATEWAY_TEMPLATE"}
