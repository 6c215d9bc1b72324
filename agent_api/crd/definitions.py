"""The CustomResourceDefinitions of Greylag as documents."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from agent_api.crd.structural import Schema, structural_schema
from agent_api.meta import GROUP, VERSION
from agent_api.v1alpha1.agent import AgentDeployment
from agent_api.v1alpha1.route import AgentRoute

Column = dict[str, Any]


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False, description: str = "") -> Column:
    column: Column = {"name": name, "type": kind, "jsonPath": path}
    if description:
        column["description"] = description
    if wide:
        column["priority"] = 1
    return column


AGE = _column("AGE", ".metadata.creationTimestamp", "date")
AGENT_COLUMNS = (
    _column("PHASE", ".status.phase", description="Healthy, Progressing, Paused or Degraded."),
    _column("STEP", ".status.step", description="Present step of all."),
    _column("WEIGHT", ".status.canaryWeight", "integer", description="Percent of new conversations at the canary."),
    _column("STABLE", ".status.stableRevision", description="Revision that serves."),
    _column("CANARY", ".status.canaryRevision", description="Revision that is being rolled out."),
    _column("READY", ".status.ready", description="Ready of wanted pods of stable."),
    AGE,
    _column("MESSAGE", ".status.message", wide=True, description="What happens, and what to do."),
    _column("MODEL", ".spec.model.name", wide=True, description="Model that the spec asks for."),
    _column("REJECTED", ".status.rejectedRevision", wide=True, description="Revision that was taken back."),
)
ROUTE_COLUMNS = (
    _column("PORT", ".spec.port", "integer", description="Port of the listener."),
    _column("EPOCH", ".spec.epoch", "integer", description="One per rollout."),
    _column("SERIAL", ".spec.serial", "integer", description="Rises with every change of the routing."),
    _column("STEP", ".spec.rollout.stepIndex", "integer", description="Index of the present step."),
    _column("SUSPENDED", ".spec.suspended", "boolean", description="Whether new runs are refused."),
    AGE,
)


def agent_deployment_definition() -> dict[str, Any]:
    """Definition of AgentDeployment: status and scale subresources, category `all`."""
    subresources = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    return _definition(AgentDeployment, "agd", AGENT_COLUMNS, categories=("all",), subresources=subresources)


def agent_route_definition() -> dict[str, Any]:
    """Definition of AgentRoute: one object, one write, so no status subresource."""
    return _definition(AgentRoute, "agr", ROUTE_COLUMNS, categories=(), subresources={})


def _definition(
    model: type[BaseModel],
    short_name: str,
    columns: tuple[Column, ...],
    *,
    categories: tuple[str, ...],
    subresources: dict[str, Any],
) -> dict[str, Any]:
    kind = model.__name__
    singular = kind.lower()
    names: dict[str, Any] = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": f"{singular}s",
        "singular": singular,
        "shortNames": [short_name],
    }
    if categories:
        names["categories"] = list(categories)
    version: dict[str, Any] = {"name": VERSION, "served": True, "storage": True}
    if subresources:
        version["subresources"] = subresources
    version["additionalPrinterColumns"] = [dict(column) for column in columns]
    version["schema"] = {"openAPIV3Schema": _root_schema(model)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _root_schema(model: type[BaseModel]) -> Schema:
    """Schema of the whole object; the API server checks the rest itself and allows no more here."""
    schema = structural_schema(model)
    schema["required"] = [name for name in schema["required"] if name == "spec"]
    for name in ("apiVersion", "kind"):
        schema["properties"][name] = {
            "description": schema["properties"][name]["description"],
            "type": "string",
        }
    schema["properties"]["metadata"] = {"type": "object"}
    return schema
