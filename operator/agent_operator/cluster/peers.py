"""Reads from pods of ours, by IP: observations, and why a pod is not ready. Bounded in size and time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
from pydantic import ValidationError

from agent_api.acknowledgement import GATEWAY_CONTROL_PORT
from agent_api.observations import OBSERVATIONS_PATH, Observations
from agent_api.report import REPORT_PATH, RuntimeReport
from agent_api.runtime_document import RUNTIME_PORT
from agent_operator.core.reports import is_plausible
from agent_operator.core.resources.metadata import Manifest

READ_SECONDS = 2.0
MAX_BYTES = 4 * 1024 * 1024
MAX_REPORT_BYTES = 64 * 1024
MAX_AT_ONCE = 64
REMEMBERED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod that can be asked."""

    name: str
    address: str
    port: int
    namespace: str = ""


def runtime_peer(pod: Manifest) -> Peer | None:
    """A runtime pod that has an address and is not on its way out for good."""
    return _peer(pod, RUNTIME_PORT)


def gateway_peer(pod: Manifest) -> Peer | None:
    """A gateway pod that has an address."""
    return _peer(pod, GATEWAY_CONTROL_PORT)


def _peer(pod: Manifest, port: int) -> Peer | None:
    address = pod.get("status", {}).get("podIP")
    if not address or pod.get("status", {}).get("phase") != "Running":
        return None
    host = f"[{address}]" if ":" in address else address
    return Peer(pod["metadata"]["name"], host, port, pod["metadata"]["namespace"])


def is_ready(pod: Manifest) -> bool:
    """Whether a pod is ready and stays."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions", ())
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


@dataclass(frozen=True, slots=True)
class Unreadiness:
    """Why a pod says that it is not ready, and whether it waits for a store that it never reached."""

    reason: str = ""
    waits_for_store: bool = False


class _Slots:
    """Requests at once: so many in all, and a share of them for each namespace, so that none waits for another's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all = asyncio.Semaphore(most)
        self._shares: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, namespace: str) -> AsyncIterator[None]:
        share = self._shares.setdefault(namespace, asyncio.Semaphore(max(1, self._most // 4)))
        self._users[namespace] += 1
        try:
            async with share, self._all:
                yield
        finally:
            self._users[namespace] -= 1
            if not self._users[namespace]:
                del self._users[namespace], self._shares[namespace]


class Peers:
    """Asks pods over one session; what does not answer in time or sense answers nothing.

    Verdicts have slots of their own, and the wait for a slot is part of the time. What a pod that is not ready said, or
    did not say, is remembered for a few seconds.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._verdicts, self._others = _Slots(MAX_AT_ONCE), _Slots(MAX_AT_ONCE)
        self._unready: dict[Peer, tuple[float, Unreadiness]] = {}

    async def observations(self, peers: Iterable[Peer], agent: str, since: int) -> dict[str, Observations]:
        """Observations of an agent by pod name, of slots from `since` (Unix time in seconds) on.

        A pod that did not answer is missing; an older one may answer with more than it was asked for.
        """
        asked = list(peers)
        path = f"{OBSERVATIONS_PATH}?{urlencode({'agent': agent, 'since': since})}"
        answers = await asyncio.gather(*(self._observations(peer, path) for peer in asked))
        return {peer.name: answer for peer, answer in zip(asked, answers, strict=True) if answer is not None}

    async def _observations(self, peer: Peer, path: str) -> Observations | None:
        status, body = await self._get(peer, path, self._verdicts)
        if status != HTTPStatus.OK:
            return None
        try:
            return Observations.model_validate_json(body, extra="ignore")
        except ValidationError:
            return None

    async def report(self, peer: Peer) -> RuntimeReport | None:
        """What a pod says of the state that all pods share; None if it says nothing, or nothing that makes sense."""
        status, body = await self._get(peer, REPORT_PATH, self._others, MAX_REPORT_BYTES)
        if status != HTTPStatus.OK:
            return None
        try:
            report = RuntimeReport.model_validate_json(body, extra="ignore")
        except ValidationError:
            return None
        return report if is_plausible(report) else None

    async def unreadiness(self, peers: Iterable[Peer]) -> list[Unreadiness]:
        """Why pods say that they are not ready, in their order; one that says nothing has no reason."""
        now = asyncio.get_running_loop().time()
        self._unready = {peer: kept for peer, kept in self._unready.items() if now - kept[0] < REMEMBERED_SECONDS}
        return list(await asyncio.gather(*(self._unreadiness(peer) for peer in peers)))

    async def _unreadiness(self, peer: Peer) -> Unreadiness:
        known = self._unready.get(peer)
        if known is not None:
            return known[1]
        answered, report = await asyncio.gather(self._get(peer, "/ready", self._others), self.report(peer))
        store = None if report is None else report.store
        waits = store is not None and not store.was_reached
        said = Unreadiness(_reason(*answered), waits_for_store=waits)
        self._unready[peer] = (asyncio.get_running_loop().time(), said)
        return said

    async def _get(self, peer: Peer, path: str, slots: _Slots, most: int | None = None) -> tuple[int, bytes]:
        url = f"http://{peer.address}:{peer.port}{path}"
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                slots.taken(peer.namespace),
                self._session.get(url, allow_redirects=False) as response,
            ):
                body = await read_body(response, most)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, b""
        return (0, b"") if body is None else (response.status, body)


def _reason(status: int, body: bytes) -> str:
    """Detail of a problem document that says why a pod is not ready; empty of anything else."""
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return ""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(problem.get("detail", ""))[:512] if isinstance(problem, dict) else ""


async def read_body(response: aiohttp.ClientResponse, most: int | None = None) -> bytes | None:
    """The whole body, however many pieces it comes in; None if it is longer than `most` (MAX_BYTES if not given)."""
    body, limit = bytearray(), MAX_BYTES if most is None else most
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            return None
    return bytes(body)
