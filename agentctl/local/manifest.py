"""A file with one agent and the ConfigMaps and Secrets that it names: what a cluster would hold."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent_api.meta import API_VERSION
from agent_api.v1alpha1.agent import AgentDeployment
from agentctl.errors import ManifestError
from agentctl.local.api_rules import broken_rules
from agentctl.local.wrong_fields import MAX_SHOWN, wrong_fields
from agentctl.local.yaml_documents import read_documents, source_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agent_api.meta import KeyReference

AGENT_KIND = "AgentDeployment"
HELD_KINDS = ("ConfigMap", "Secret")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

TextKey = tuple[str, str, str]
"""Kind, name and key of a text."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The agent of a file, texts by kind, name and key, and which objects hold none, by kind and name."""

    agent: AgentDeployment
    texts: Mapping[TextKey, str] = field(default_factory=dict, repr=False)
    empty: frozenset[tuple[str, str]] = frozenset()

    @property
    def name(self) -> str:
        """Name of the agent."""
        return str(self.agent.metadata["name"])

    @property
    def namespace(self) -> str:
        """Namespace of the agent."""
        return str(self.agent.metadata.get("namespace") or "default")

    def text(self, kind: str, reference: KeyReference) -> str | None:
        """Text that a field refers to; None if the file has none."""
        return self.texts.get((kind, reference.name, reference.key))

    def entries(self, secret: str) -> dict[str, str]:
        """All entries of a Secret, by key."""
        return {key: text for (kind, name, key), text in self.texts.items() if (kind, name) == ("Secret", secret)}


def read_bundle(path: Path) -> Bundle:
    """Read a file of one or more YAML documents; objects of other kinds, or of another namespace, are left alone.

    `-` is standard input.

    Raises
    ------
    ManifestError
        If it cannot be read, holds no AgentDeployment or several, or one with wrong fields; says which and why.
    """
    try:
        documents = read_documents(path)
        agent = _agent([document for document in documents if document.get("kind") == AGENT_KIND])
        held = list(_held(documents, agent.metadata.get("namespace")))
    except ManifestError as error:
        text, name = str(error), source_name(path)
        raise error if text.startswith(f"{name}: ") else ManifestError(f"{name}: {text}") from None
    texts = {(kind, name, key): text for kind, name, entries in held for key, text in entries.items()}
    filled = {(kind, name) for kind, name, _ in texts}
    return Bundle(agent, texts, frozenset((kind, name) for kind, name, _ in held) - filled)


def _agent(found: list[dict[str, Any]]) -> AgentDeployment:
    if len(found) != 1:
        names = ", ".join(str(_metadata(document).get("name")) for document in found[:MAX_SHOWN])
        which = f" ({names})" if found else ""
        raise ManifestError(f"holds {len(found)} objects of kind {AGENT_KIND}{which}; one is needed: one file an agent")
    document = found[0]
    if document.get("apiVersion") != API_VERSION:
        raise ManifestError(f"apiVersion: must be {API_VERSION} for kind {AGENT_KIND}")
    if not isinstance(_metadata(document).get("name"), str):
        raise ManifestError("metadata.name: is missing or no text; give the agent a name")
    try:
        # As the API server reads it: strictly, as JSON. YAML's dates are texts there.
        text = json.dumps(document, default=str)
        agent = AgentDeployment.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ManifestError(wrong_fields(error)) from None
    filled_in = agent.model_dump(mode="json", by_alias=True, exclude_none=True)
    broken = broken_rules(_schema(), filled_in)
    if broken:
        raise ManifestError("; ".join(broken[:MAX_SHOWN]))
    return agent


@cache
def _schema() -> dict[str, Any]:
    return AgentDeployment.model_json_schema()


def _held(documents: list[dict[str, Any]], namespace: object) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Kind, name and entries of each object that an agent may name."""
    for document in documents:
        kind, metadata = document.get("kind"), _metadata(document)
        elsewhere = namespace and metadata.get("namespace") and metadata["namespace"] != namespace
        if kind not in HELD_KINDS or elsewhere:
            continue
        name = metadata.get("name")
        if not isinstance(name, str):
            raise ManifestError(f"{kind}: metadata.name is missing or no text; give it the name that the agent names")
        yield kind, name, _data(document, f"{kind} {name}")


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _data(document: dict[str, Any], what: str) -> dict[str, str]:
    """Texts of a ConfigMap or Secret."""
    texts = dict(_entries(document, "data", what))
    if document["kind"] == "Secret":
        texts = {key: _decoded(text, f"{what}: data.{key}") for key, text in texts.items()}
        texts |= dict(_entries(document, "stringData", what))
    return texts


def _entries(document: dict[str, Any], part: str, what: str) -> Iterator[tuple[str, str]]:
    found = document.get(part) or {}
    if not isinstance(found, dict):
        raise ManifestError(f"{what}: {part}: must be a map of texts")
    for key, text in found.items():
        # Keys become names of files.
        if not isinstance(key, str) or _DATA_KEY.fullmatch(key) is None or key.startswith(".."):
            raise ManifestError(f"{what}: {part}: key {str(key)[:80]!r}: only letters, digits, '-', '_' and '.'")
        if not isinstance(text, str):
            raise ManifestError(f"{what}: {part}.{key}: must be a text; put the value in quotes")
        yield key, text


def _decoded(text: str, place: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except binascii.Error:
        raise ManifestError(f"{place}: is not base64; a plain text goes to stringData") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{place}: is no text in UTF-8; leave it out if the agent does not name it") from None
