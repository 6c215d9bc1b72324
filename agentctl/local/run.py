"""`agentctl run`: one agent on this machine, by the same runtime as in a pod; nothing else here knows the runtime."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent_runtime.document import StartRefused, describe, load_document
from agent_runtime.money.ledger import is_limited
from agent_runtime.money.pricing import resolve_price
from agent_runtime.process import build_process
from agent_runtime.server import serve
from agent_runtime.settings import Settings
from agent_runtime.store.connection import open_memory_store
from agent_runtime.telemetry.logs import configure_logging
from agentctl.errors import ExtraMissingError, ManifestError
from agentctl.local.manifest import read_bundle
from agentctl.local.oversights import oversights
from agentctl.local.pod_folder import write_pod_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from agent_runtime.process import ProcessContext
    from agentctl.local.manifest import Bundle
    from agentctl.local.pod_folder import PodFolder
    from agentctl.text.terminal import Terminal

LOOPBACK = "127.0.0.1"
STORE_MODULES = ("fakeredis", "lupa")
"""What the store in memory is made of; it is imported only when it is first used."""

_SIGNAL_EXIT = 128
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def run_locally(file: Path, port: int, terminal: Terminal) -> None:
    """Serve the agent of a file on loopback until a signal ends it; state is kept in memory.

    The files of the pod, among them secrets, are gone when it ends, unless it is killed.

    Raises
    ------
    ManifestError
        If the file cannot be run from, or the port is taken.
    ExtraMissingError
        If the store in memory is not installed.
    """
    _check_store_is_installed()
    bundle = read_bundle(file)
    _check_free(port)
    with _ends_in_order(), ExitStack() as stack:
        with _signals_wait():
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="agentctl-"))
            folder = write_pod_folder(bundle, Path(name), os.environ)
        settings = _settings(folder, port)
        context = _context(settings, bundle)
        for note in (*folder.notes, *oversights(bundle), *_unpriced(context)):
            terminal.note(f"note: {note}")
        url = f"http://{LOOPBACK}:{port}"
        serve(settings, context, on_started=lambda: terminal.note(_welcome(bundle.name, folder.revision, url)))


def _settings(folder: PodFolder, port: int) -> Settings:
    try:
        return Settings(
            host=LOOPBACK,
            port=port,
            document=folder.document,
            live=folder.live,
            credentials_directory=folder.credentials,
            credentials=folder.positions,
            headers_directory=folder.headers,
            api_keys_directory=folder.api_keys,
            pod_name="local",
            lame_duck_seconds=0,
        )
    except ValidationError as error:
        raise ManifestError(f"environment GREYLAG_*: {describe(error)}") from None


def _context(settings: Settings, bundle: Bundle) -> ProcessContext:
    configure_logging(tuple)
    try:
        document = load_document(settings.document, settings.credentials)
        context = build_process(settings, document, open_memory_store(bundle.namespace, bundle.name))
    except StartRefused as error:
        raise ManifestError(str(error)) from None
    configure_logging(context.secrets, context.redact)
    unready = context.unreadiness()
    if unready:
        raise ManifestError("; ".join(unready))
    return context


def _unpriced(context: ProcessContext) -> Iterator[str]:
    """Models that are never asked, as a budget limits money and nobody knows what they cost."""
    if not is_limited(context.live.current().budgets):
        return
    for position, endpoint in enumerate(context.document.endpoints):
        if resolve_price(endpoint, datetime.now(UTC)) is None:
            where = "spec.model" if position == 0 else f"spec.fallback[{position - 1}]"
            yield (
                f"{where}: {endpoint.model} is never asked, as spec.budgets limits money and its price is not known;"
                f" set {where}.price"
            )


def _check_store_is_installed() -> None:
    for module in STORE_MODULES:
        if find_spec(module) is None:
            raise ExtraMissingError(module)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ManifestError(f"--port {port}: {error.strerror}; choose another") from None


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """While the server does not listen to signals, they end the block as an exception does; a hangup always ends."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(_SIGNAL_EXIT + number)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    wanted = {signal.SIGTERM: end, signal.SIGHUP: hang_up}
    # Whoever started this with `nohup` wants it to outlive the terminal.
    chosen = {number: handler for number, handler in wanted.items() if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in chosen.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals come after the block: in the middle of it one could leave secrets behind."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _welcome(name: str, revision: str, url: str) -> str:
    """What a person should know when the agent serves."""
    question = json.dumps({"query": "Hello"})
    return (
        f"{name} ({revision}) serves at {url}; its state is kept in memory and ends with this process:"
        " for development only\n"
        f"  curl {url}/agent/run -H 'content-type: application/json' -d '{question}'\n"
        f"  OpenAI clients: base URL {url}/v1; the whole API: {url}/docs; Ctrl-C ends it"
    )
