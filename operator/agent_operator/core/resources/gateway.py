"""Objects of the gateway of one namespace."""

from __future__ import annotations

from agent_api.acknowledgement import FRONT_DOOR_PORT, GATEWAY_CONTROL_PORT
from agent_operator.core.names import FRONT_DOOR, GATEWAY, gateway_labels
from agent_operator.core.resources.agent import CLIENT_PORT
from agent_operator.core.resources.metadata import (
    GRACE_SECONDS,
    RESTRICTED_CONTAINER,
    RESTRICTED_POD,
    Manifest,
    make_metadata,
)
from agent_operator.core.resources.placement import place
from agent_operator.core.resources.recorded import with_record
from agent_operator.core.settings import Installation

CONFIG_DIRECTORY = "/etc/greylag-gateway"


def make_gateway_template(namespace: str, installation: Installation) -> Manifest:
    """Pod template of the gateway: Envoy, and the agent that configures it as a native sidecar."""
    mounts = [{"name": "config", "mountPath": CONFIG_DIRECTORY}]
    common: Manifest = {
        "image": installation.gateway_image,
        "imagePullPolicy": installation.image_pull_policy,
        "securityContext": RESTRICTED_CONTAINER,
        "volumeMounts": mounts,
        "env": [
            {"name": "GREYLAG_NAMESPACE", "value": namespace},
            {"name": "GREYLAG_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "GREYLAG_CONFIG_DIR", "value": CONFIG_DIRECTORY},
        ],
    }
    sidecar = {
        **common,
        "name": "agent-gateway",
        "command": ["python", "-m", "agent_gateway"],
        "restartPolicy": "Always",
        "ports": [{"name": "control", "containerPort": GATEWAY_CONTROL_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", period=1, failures=120),
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        "resources": installation.gateway_resources,
    }
    envoy = {
        **common,
        "name": "envoy",
        "command": ["python", "-m", "agent_gateway", "envoy"],
        "lifecycle": {"preStop": {"exec": {"command": ["python", "-m", "agent_gateway", "drain"]}}},
        "readinessProbe": _probe("/ready", period=2, failures=5),
        "resources": installation.gateway_resources,
    }
    template: Manifest = {
        "metadata": {"labels": gateway_labels()},
        "spec": {
            "serviceAccountName": GATEWAY,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": RESTRICTED_POD,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": gateway_labels()},
                }
            ],
            "initContainers": [sidecar],
            "containers": [envoy],
            "volumes": [{"name": "config", "emptyDir": {"sizeLimit": "128Mi"}}],
        },
    }
    return place(template, installation.gateway_pod)


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": GATEWAY_CONTROL_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def make_gateway_objects(
    namespace: str, template: Manifest, installation: Installation, replicas: int | None
) -> tuple[Manifest, ...]:
    """Everything of the gateway, as it is applied; `replicas` None leaves them to whoever scales it.

    The Deployment keeps its template, so that only an explicit chart value rolls gateways.
    """
    metadata = make_metadata(GATEWAY, namespace, gateway_labels())
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": installation.gateway_cluster_role,
        },
        "subjects": [{"kind": "ServiceAccount", "name": GATEWAY, "namespace": namespace}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": gateway_labels()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 1,
            "template": template,
        },
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": gateway_labels()},
        },
    }
    front_door = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": make_metadata(FRONT_DOOR, namespace, gateway_labels()),
        "spec": {
            "selector": gateway_labels(),
            "ports": [{"name": "http", "port": CLIENT_PORT, "targetPort": FRONT_DOOR_PORT, "protocol": "TCP"}],
        },
    }
    return account, binding, with_record(deployment, installation.gateway_template), budget, front_door
