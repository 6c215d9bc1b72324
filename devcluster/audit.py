"""The API server's audit policy: who wrote what, and the full body of Greylag's own objects."""

from typing import Any

WRITE_VERBS = ("create", "update", "patch", "delete", "deletecollection")


def audit_policy() -> dict[str, Any]:
    """Return the policy: writes only, once each, when answered.

    Reads, reviews (which store nothing) and the kubelets' node Leases are left out.
    """
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "None", "resources": [_group("authentication.k8s.io"), _group("authorization.k8s.io")]},
            {
                "level": "None",
                "userGroups": ["system:nodes"],
                "resources": [_group("coordination.k8s.io", "leases")],
            },
            {
                "level": "Request",
                "verbs": list(WRITE_VERBS),
                "resources": [_group("greylag.dev", *_with_status("agentdeployments", "agentroutes"))],
            },
            {"level": "Metadata", "verbs": list(WRITE_VERBS)},
            {"level": "None"},
        ],
    }


def _group(name: str, *resources: str) -> dict[str, Any]:
    return {"group": name, "resources": list(resources)} if resources else {"group": name}


def _with_status(*resources: str) -> tuple[str, ...]:
    return tuple(f"{resource}{suffix}" for resource in resources for suffix in ("", "/status"))
