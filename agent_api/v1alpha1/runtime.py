"""The pods of an agent: image, resources, environment, placement."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

from agent_api.meta import ApiModel, ObjectName

QUANTITY_PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][-+]?[0-9]{1,2}))?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
QUALIFIED_NAME_PATTERN = r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"


def _as_text(value: object) -> object:
    """Read a whole number as its text, so that `cpu: 1` and `cpu: "1"` are the same behaviour."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(max_length=32, pattern=QUANTITY_PATTERN),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "maxLength": 32,
            "pattern": QUANTITY_PATTERN,
        }
    ),
]
"""An amount of a resource, such as 100m, 2 or 1.5Gi."""
ResourceList = Annotated[dict[str, Quantity], Field(max_length=16)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]
QualifiedName = Annotated[str, Field(max_length=316, pattern=QUALIFIED_NAME_PATTERN)]

MAX_ENV_CHARACTERS = 64 * 1024
AFFINITY_KINDS = {
    "nodeAffinity": "Attraction to nodes (core/v1 NodeAffinity).",
    "podAffinity": "Attraction to other pods (core/v1 PodAffinity).",
    "podAntiAffinity": "Distance from other pods (core/v1 PodAntiAffinity).",
}


def _resource_name_rule(side: str) -> JsonValue:
    """Rule that `requests` or `limits` names only resources that a container can ask for."""
    return {
        "rule": f"!has(self.{side}) || self.{side}.all(name, name in ['cpu', 'memory', 'ephemeral-storage']"
        " || name.startsWith('hugepages-') || name.contains('/'))",
        "message": f"{side}: a resource is cpu, memory, ephemeral-storage, hugepages-<size> or <domain>/<name>",
        "fieldPath": f".{side}",
    }


class Resources(ApiModel):
    """Compute resources of the runtime container."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                _resource_name_rule("requests"),
                _resource_name_rule("limits"),
                {
                    "rule": "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits)"
                    " || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
                    "message": "requests must not be more than limits",
                    "fieldPath": ".requests",
                },
            ]
        }
    }

    requests: ResourceList | None = Field(default=None, description="What the scheduler sets aside, such as cpu: 100m.")
    limits: ResourceList | None = Field(default=None, description="What the container may use at most.")


class EnvVar(ApiModel):
    """One environment variable of the runtime container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="Name; names that begin with GREYLAG_ are the operator's."
    )
    value: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")] = Field(
        description="Value; never put a secret here."
    )


class Toleration(ApiModel):
    """A taint that the pods tolerate (core/v1 Toleration)."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                    "message": "key is required unless operator is Exists",
                    "fieldPath": ".key",
                },
                {
                    "rule": "!has(self.value) || !has(self.operator) || self.operator == 'Equal' || self.value == ''",
                    "message": "value must not be set when operator is Exists",
                    "fieldPath": ".value",
                },
                {
                    "rule": "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                    "message": "tolerationSeconds needs the effect NoExecute",
                    "fieldPath": ".tolerationSeconds",
                },
            ]
        }
    }

    key: QualifiedName | None = Field(default=None, description="Key of the taint; unset with operator Exists: all.")
    operator: Annotated[str, Field(max_length=16, pattern="^(Exists|Equal)$")] | None = Field(
        default=None, description="Exists or Equal. Unset: Equal."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint, with Equal.")
    effect: Annotated[str, Field(max_length=32, pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")] | None = Field(
        default=None, description="Effect of the taint; unset: all effects."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=2_147_483_647, description="How long a NoExecute taint is tolerated, in seconds."
    )


class ImagePullSecret(ApiModel):
    """Name of a Secret with registry credentials."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")


class PodPlacement(ApiModel):
    """Where and as whom the pods run. A change replaces pods without a canary."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.nodeSelector)"
                    f" || self.nodeSelector.all(key, key.matches('{QUALIFIED_NAME_PATTERN}'))",
                    "message": "nodeSelector: a key must be a label's name, such as kubernetes.io/arch",
                    "fieldPath": ".nodeSelector",
                }
            ]
        }
    }

    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = Field(
        default=None, description="Labels a node must have."
    )
    affinity: Annotated[
        dict[str, Any] | None,
        WithJsonSchema(
            {
                "type": "object",
                "properties": {
                    name: {"type": "object", "description": text, "x-kubernetes-preserve-unknown-fields": True}
                    for name, text in AFFINITY_KINDS.items()
                },
            }
        ),
    ] = Field(default=None, description="Scheduling constraints (core/v1 Affinity), passed on as they are.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints that the pods tolerate."
    )
    image_pull_secrets: Annotated[list[ImagePullSecret], Field(max_length=16)] | None = Field(
        default=None, description="Secrets for pulling the image."
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the pods.")
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pods. Unset: the namespace's default, with no token mounted."
    )


class RuntimeSpec(ApiModel):
    """The runtime container and its pod."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.env) || self.env.all(e, !e.name.startsWith('GREYLAG_'))",
                    "message": "names that begin with GREYLAG_ are reserved for the operator",
                    "fieldPath": ".env",
                },
                {
                    "rule": f"!has(self.env) || self.env.map(e, size(e.value)).sum() <= {MAX_ENV_CHARACTERS}",
                    "message": f"the values of env must have at most {MAX_ENV_CHARACTERS} characters together",
                    "fieldPath": ".env",
                },
            ]
        }
    }

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")] | None = (
        Field(
            default=None, description="Image of the runtime. Unset: the operator's default when the revision is made."
        )
    )
    resources: Resources = Field(default=Resources(), description="Compute resources.")
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(default=[], description="Environment variables.")
    pod: PodPlacement = Field(default=PodPlacement(), description="Placement of the pods.")
