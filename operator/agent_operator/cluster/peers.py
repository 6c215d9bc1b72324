"""Reads from pods of ours, by IP: observations, and why a pod is not ready. Bounded in size and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
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
MAX_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod that can be asked."""

    name: str
    address: str
    port: int


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
    return Peer(pod["metadata"]["name"], host, port)


def is_ready(pod: Manifest) -> bool:
    """Whether a pod is ready and stays."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions", ())
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


class Peers:
    """Asks pods over one session; what does not answer in time or sense answers nothing."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def observations(self, peers: Iterable[Peer], agent: str, since: int) -> dict[str, Observations]:
        """Observations of an agent by pod name, of slots from `since` (Unix time in seconds) on.

        A pod that did not answer is missing; an older one may answer with more than it was asked for.
        """
        asked = list(peers)
        path = f"{OBSERVATIONS_PATH}?{urlencode({'agent': agent, 'since': since})}"
        answers = await asyncio.gather(*(self._observations(peer, path) for peer in asked))
        return {peer.name: answer for peer, answer in zip(asked, answers, strict=True) if answer is not None}

    async def _observations(self, peer: Peer, path: str) -> Observations | None:
        status, body = await self._get(peer, path)
        if status != HTTPStatus.OK:
            return None
        try:
            return Observations.model_validate_json(body, extra="ignore")
        except ValidationError:
            return None

    async def report(self, peer: Peer) -> RuntimeReport | None:
        """What a pod says of the state that all pods share; None if it says nothing, or nothing that makes sense."""
        status, body = await self._get(peer, REPORT_PATH, MAX_REPORT_BYTES)
        if status != HTTPStatus.OK:
            return None
        try:
            report = RuntimeReport.model_validate_json(body, extra="ignore")
        except ValidationError:
            return None
        return report if is_plausible(report) else None

    async def not_ready_reason(self, peer: Peer) -> str:
        """What a pod says of why it is not ready; empty if it says nothing."""
        status, body = await self._get(peer, "/ready")
        if status != HTTPStatus.SERVICE_UNAVAILABLE:
            return ""
        try:
            problem = json.loads(body)
        except ValueError:
            return ""
        return str(problem.get("detail", ""))[:512] if isinstance(problem, dict) else ""

    async def _get(self, peer: Peer, path: str, most: int | None = None) -> tuple[int, bytes]:
        url = f"http://{peer.address}:{peer.port}{path}"
        timeout = aiohttp.ClientTimeout(total=READ_SECONDS)
        async with self._slots:
            try:
                async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                    body = await read_body(response, most)
            except (aiohttp.ClientError, TimeoutError, OSError):
                return 0, b""
        return (0, b"") if body is None else (response.status, body)


async def read_body(response: aiohttp.ClientResponse, most: int | None = None) -> bytes | None:
    """The whole body, however many pieces it comes in; None if it is longer than `most` (MAX_BYTES if not given)."""
    body, limit = bytearray(), MAX_BYTES if most is None else most
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            return None
    return bytes(body)
