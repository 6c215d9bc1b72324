"""The files that a pod of the agent would find mounted, in a folder of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_api.live_document import LIVE_KEY, LedgerDocument
from agent_api.runtime_document import CREDENTIAL_FILE, DOCUMENT_KEY, HEADER_FILE
from agent_operator.core.resources.live import make_live_document
from agent_operator.core.revision import headers_of, make_document, open_api_references, revision_name
from agent_operator.core.validation import invalid_parts
from agentctl.errors import ManifestError
from agentctl.local.named_texts import KEY_VARIABLE, absence, check_all_held, endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agent_api.meta import KeyReference
    from agentctl.local.manifest import Bundle


@dataclass(frozen=True, slots=True)
class PodFolder:
    """Where everything is, and which credentials there are."""

    document: Path
    live: Path
    credentials: Path
    positions: tuple[int, ...]
    headers: Path
    api_keys: Path | None
    revision: str
    notes: tuple[str, ...] = ()
    """What was not as the file says, for a person."""


def write_pod_folder(bundle: Bundle, root: Path, environment: Mapping[str, str]) -> PodFolder:
    """Write the files; a model's key that is not in the file is taken from OPENAI_API_KEY, if that is set.

    Only this user can read them.

    Raises
    ------
    ManifestError
        If the spec cannot be run, or names what the file does not hold; says which fields and what to do.
    """
    spec = bundle.agent.spec
    check_all_held(bundle, spare_key=bool(environment.get(KEY_VARIABLE)))
    instructions, open_api = _instructions(bundle), _open_api(bundle)
    wrong = invalid_parts(spec, open_api, instructions)
    if wrong:
        raise ManifestError("; ".join(map(str, wrong)))
    revision = revision_name(bundle.name, spec, instructions, open_api)
    document = make_document(bundle.name, revision, spec, instructions, namespace=bundle.namespace, open_api=open_api)
    live = make_live_document(spec, LedgerDocument(), "")
    _write(root / DOCUMENT_KEY, document.model_dump_json(by_alias=True))
    _write(root / LIVE_KEY, live.model_dump_json(by_alias=True))
    keys = tuple(_keys(bundle, environment))
    for key in keys:
        _write(root / "credentials" / str(key.position) / CREDENTIAL_FILE, key.text)
    return PodFolder(
        document=root / DOCUMENT_KEY,
        live=root / LIVE_KEY,
        credentials=root / "credentials",
        positions=tuple(key.position for key in keys),
        headers=_headers(bundle, root / "headers"),
        api_keys=_api_keys(bundle, root / "api-keys"),
        revision=revision,
        notes=(*(key.note for key in keys if key.note), *_without_effect(bundle)),
    )


def _instructions(bundle: Bundle) -> str:
    behaviour = bundle.agent.spec.agent
    if behaviour.instructions_from is None:
        return behaviour.instructions or ""
    return _held(bundle, "ConfigMap", behaviour.instructions_from.config_map_key_ref)


def _open_api(bundle: Bundle) -> dict[str, str]:
    references = open_api_references(bundle.agent.spec)
    return {name: _held(bundle, "ConfigMap", reference) for name, reference in references.items()}


def _held(bundle: Bundle, kind: str, reference: KeyReference) -> str:
    """A text of which it is known that the file holds it."""
    return bundle.texts[kind, reference.name, reference.key]


@dataclass(frozen=True, slots=True)
class _Key:
    position: int
    text: str
    note: str = ""


def _keys(bundle: Bundle, environment: Mapping[str, str]) -> Iterator[_Key]:
    """Keys of the models that need one, each with what is to be said of it."""
    for position, (where, endpoint) in enumerate(endpoints(bundle.agent.spec)):
        reference = endpoint.api_key_secret_ref
        if reference is None:
            continue
        text, note = bundle.text("Secret", reference), ""
        if text is None:
            text, cause = environment[KEY_VARIABLE], absence(bundle, "Secret", reference)
            sent = f"the key of {KEY_VARIABLE} is sent to {endpoint.base_url} instead"
            note = f"{where}.apiKeySecretRef: {cause}; {sent}"
        yield _Key(position, text, note)


def _headers(bundle: Bundle, folder: Path) -> Path:
    for place, source in enumerate(bundle.agent.spec.tools):
        for number, header in enumerate(headers_of(source)):
            text = _held(bundle, "Secret", header.secret_key_ref)
            _write(folder / f"{place}-{number}" / HEADER_FILE, text)
    return folder


def _api_keys(bundle: Bundle, folder: Path) -> Path | None:
    reference = bundle.agent.spec.access.api_keys_secret_ref
    if reference is None:
        return None
    for user, key in bundle.entries(reference.name).items():
        _write(folder / user, key)
    return folder


def _without_effect(bundle: Bundle) -> Iterator[str]:
    """What only a cluster gives effect to, where somebody might count on it."""
    spec = bundle.agent.spec
    if spec.store is not None:
        yield "spec.store: not used; state is kept in memory"
    if spec.suspend:
        yield "spec.suspend: not used; the gateway of a cluster refuses runs, here they are answered"
    if spec.runtime.env:
        yield "spec.runtime.env: not used; this process has the environment that it was started in"


def _write(path: Path, text: str) -> None:
    """Write a new file that nobody else can read at any time, with the folders that it needs."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
