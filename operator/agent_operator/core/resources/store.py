"""Objects of the trial store of one namespace: one Redis with a password that nobody has to choose."""

from __future__ import annotations

from agent_operator.core.names import TRIAL_STORE, store_labels
from agent_operator.core.resources.metadata import (
    RESTRICTED_CONTAINER,
    RESTRICTED_POD,
    Manifest,
    make_metadata,
)
from agent_operator.core.resources.placement import place
from agent_operator.core.resources.recorded import with_record
from agent_operator.core.settings import Installation

STORE_PORT = 6379
URL_KEY = "url"
PASSWORD_KEY = "password"  # noqa: S105 - the name of a key
_PASSWORD_FILE = f"/var/run/greylag-store/{PASSWORD_KEY}"
_DATA = "/data"
_CONFIGURATION = f"""exec redis-server - <<END
port {STORE_PORT}
bind * -::*
dir {_DATA}
save ""
appendonly yes
appendfsync always
maxmemory %s
maxmemory-policy noeviction
tcp-keepalive 60
requirepass $(cat {_PASSWORD_FILE})
END
"""
"""The password reaches Redis by its standard input: arguments are seen by everybody on the node."""
_PING = f'REDISCLI_AUTH="$(cat {_PASSWORD_FILE})" redis-cli -p {STORE_PORT} ping 2>&1'
_READY = f"{_PING} | grep -q PONG"
_ALIVE = f"{_PING} | grep -qE 'PONG|LOADING|BUSY'"
"""Not alive is also a Redis that began with another password than the Secret has by now: it starts anew with that."""


def make_store_template(installation: Installation) -> Manifest:
    """Pod template of the trial store."""
    container: Manifest = {
        "name": "redis",
        "image": installation.store_image,
        "imagePullPolicy": installation.image_pull_policy,
        "command": ["sh", "-c", _CONFIGURATION % installation.store_max_memory],
        "ports": [{"name": "redis", "containerPort": STORE_PORT, "protocol": "TCP"}],
        "resources": installation.store_resources,
        "securityContext": RESTRICTED_CONTAINER,
        "startupProbe": _probe(_ALIVE, period=1, failures=120),
        "readinessProbe": _probe(_READY, period=5, failures=2),
        "livenessProbe": _probe(_ALIVE, period=10, failures=6),
        "volumeMounts": [
            {"name": "data", "mountPath": _DATA},
            {"name": "password", "mountPath": _PASSWORD_FILE.rpartition("/")[0], "readOnly": True},
        ],
    }
    items = [{"key": PASSWORD_KEY, "path": PASSWORD_KEY}]
    template: Manifest = {
        "metadata": {"labels": store_labels()},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 30,
            "securityContext": RESTRICTED_POD,
            "containers": [container],
            "volumes": [
                {"name": "data", **_volume(installation)},
                {"name": "password", "secret": {"secretName": TRIAL_STORE, "items": items}},
            ],
        },
    }
    return place(template, installation.store_pod)


def _probe(command: str, *, period: int, failures: int) -> Manifest:
    return {
        "exec": {"command": ["sh", "-c", command]},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _volume(installation: Installation) -> Manifest:
    if installation.store_size:
        return {"persistentVolumeClaim": {"claimName": TRIAL_STORE}}
    return {"emptyDir": {"sizeLimit": "2Gi"}}


def make_store_objects(namespace: str, template: Manifest, installation: Installation) -> tuple[Manifest, ...]:
    """Everything of the store but its Secret, in the order in which it is applied.

    The Deployment keeps its template: a new one would cost the data of a store without a volume.
    """
    metadata = make_metadata(TRIAL_STORE, namespace, store_labels())
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": store_labels(),
            "ports": [{"name": "redis", "port": STORE_PORT, "targetPort": STORE_PORT, "protocol": "TCP"}],
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": store_labels()},
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 1,
            "template": template,
        },
    }
    claims = any("persistentVolumeClaim" in volume for volume in template["spec"]["volumes"])
    claimed = claims and installation.store_size
    return (
        *((_claim(metadata, installation),) if claimed else ()),
        service,
        with_record(deployment, installation.store_template),
    )


def _claim(metadata: Manifest, installation: Installation) -> Manifest:
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": installation.store_size}},
    }
    if installation.store_class:
        spec["storageClassName"] = installation.store_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def make_store_secret(namespace: str, deployment_uid: str, password: str) -> Manifest:
    """Secret of the store; it goes with the Deployment, as the operator may delete no Secret."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": TRIAL_STORE, "uid": deployment_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": make_metadata(TRIAL_STORE, namespace, store_labels(), owner),
        "type": "Opaque",
        "stringData": {URL_KEY: store_url(namespace, password), PASSWORD_KEY: password},
    }


def store_url(namespace: str, password: str) -> str:
    """Where the pods of a namespace reach its trial store."""
    return f"redis://:{password}@{TRIAL_STORE}.{namespace}.svc.cluster.local:{STORE_PORT}/0"
