"""What an agent names of ConfigMaps and Secrets, and how it is told, all at once, that a file does not hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_operator.core.revision import headers_of, open_api_references
from agentctl.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_api.meta import KeyReference
    from agent_api.v1alpha1.agent import AgentDeploymentSpec
    from agent_api.v1alpha1.model import ModelEndpoint
    from agentctl.local.manifest import Bundle

KEY_VARIABLE = "OPENAI_API_KEY"
API_KEYS_FIELD = "spec.access.apiKeysSecretRef"
ADD_IT = "add what is missing to the file, as you would give it to kubectl (documents are separated by ---)"


@dataclass(frozen=True, slots=True)
class Named:
    """A key of an object, and the field that names it."""

    path: str
    kind: str
    reference: KeyReference
    is_key_of_model: bool = False


def named_texts(spec: AgentDeploymentSpec) -> Iterator[Named]:
    """Every text that an agent names, in the order of its fields."""
    if spec.agent.instructions_from is not None:
        reference = spec.agent.instructions_from.config_map_key_ref
        yield Named("spec.agent.instructionsFrom.configMapKeyRef", "ConfigMap", reference)
    for where, endpoint in endpoints(spec):
        if endpoint.api_key_secret_ref is not None:
            yield Named(f"{where}.apiKeySecretRef", "Secret", endpoint.api_key_secret_ref, is_key_of_model=True)
    for name, reference in open_api_references(spec).items():
        yield Named(f"spec.tools[{name}].http.openAPI.configMapKeyRef", "ConfigMap", reference)
    for source in spec.tools:
        for header in headers_of(source):
            path = f"spec.tools[{source.name}].headersFrom[{header.name}].secretKeyRef"
            yield Named(path, "Secret", header.secret_key_ref)


def endpoints(spec: AgentDeploymentSpec) -> Iterator[tuple[str, ModelEndpoint]]:
    """The models of an agent with the fields that hold them, in their order."""
    yield "spec.model", spec.model
    for at, endpoint in enumerate(spec.fallback):
        yield f"spec.fallback[{at}]", endpoint


def check_all_held(bundle: Bundle, *, spare_key: bool) -> None:
    """Refuse a file that does not hold what its agent names; with a spare key, keys of models may be absent.

    Raises
    ------
    ManifestError
        With everything that is absent, each by its field, and the way out.
    """
    spec = bundle.agent.spec
    named = [item for item in named_texts(spec) if bundle.text(item.kind, item.reference) is None]
    needed = [item for item in named if not (item.is_key_of_model and spare_key)]
    faults = [f"{item.path}: {absence(bundle, item.kind, item.reference)}" for item in needed]
    people = spec.access.api_keys_secret_ref
    if people is not None and not bundle.entries(people.name):
        faults.append(f"{API_KEYS_FIELD}: {_absence_of_all(bundle, people.name)}")
    if faults:
        spare = f", or set {KEY_VARIABLE} for a model's key" if any(item.is_key_of_model for item in needed) else ""
        raise ManifestError(f"{'; '.join(faults)}; {ADD_IT}{spare}")


def absence(bundle: Bundle, kind: str, reference: KeyReference) -> str:
    """What is not in the file, in words."""
    keys = sorted(key for held, name, key in bundle.texts if (held, name) == (kind, reference.name))
    if keys:
        return f"{kind} {reference.name} of the file has no key {reference.key!r}, only {', '.join(keys)}"
    if (kind, reference.name) in bundle.empty:
        return f"{kind} {reference.name} of the file has no entries; it needs key {reference.key!r}"
    return f"{kind} {reference.name} with key {reference.key!r} is not in the file"


def _absence_of_all(bundle: Bundle, secret: str) -> str:
    what = "of the file has no entries" if ("Secret", secret) in bundle.empty else "is not in the file"
    return f"Secret {secret} {what}; it needs one entry a user, with the user's name as key and the API key as value"
