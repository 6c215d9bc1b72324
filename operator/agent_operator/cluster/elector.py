"""Leader election by a Lease: compare-and-swap on its resource version, expiry by the local clock alone."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ApiError, ConflictError, NotFoundError
from agent_operator.cluster.kinds import Kind
from agent_operator.core.names import FIELD_MANAGER

LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases", selector="")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseName:
    """The Lease, who wants it, and for how long it holds without renewal (s)."""

    namespace: str
    name: str
    identity: str
    seconds: float


class Elector:
    """Holds the Lease or waits for it. A holder that cannot renew steps down before anyone else may take over."""

    def __init__(self, api: Api, lease: LeaseName) -> None:
        self._api = api
        self._lease = lease
        self._renewed_at = float("-inf")
        self._seen: tuple[str, float] = ("", float("-inf"))
        self._version = ""

    @property
    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()

    def leads(self) -> bool:
        """Whether this replica may write: the Lease is ours with a third of its time to spare."""
        return self._loop_time < self._renewed_at + self._lease.seconds * 2 / 3

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while True:
            if await self._try():
                return
            await asyncio.sleep(self._lease.seconds / 8 * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def hold(self) -> None:
        """Renew the Lease until it is lost, then return."""
        while self.leads():
            await asyncio.sleep(self._lease.seconds / 5)
            try:
                async with asyncio.timeout(self._lease.seconds / 3):
                    await self._try()
            except TimeoutError:
                log.warning("renewing the lease took too long")
        log.warning("leadership lost", identity=self._lease.identity)

    async def release(self) -> None:
        """Give the Lease back at once, so that another replica need not wait for its end."""
        if not self.leads():
            return
        self._renewed_at = float("-inf")
        try:
            async with asyncio.timeout(2):
                await self._write(holder="", exists=True)
        except (ApiError, TimeoutError) as error:
            log.info("lease not released", error=str(error))

    async def _try(self) -> bool:
        """Take or renew the Lease if that is allowed now."""
        began = self._loop_time
        try:
            if not await self._may_take():
                return False
            await self._write(holder=self._lease.identity, exists=bool(self._version))
        except ConflictError:
            return False
        except ApiError as error:
            log.warning("lease not reached", error=str(error))
            return False
        self._renewed_at = began
        return True

    async def _may_take(self) -> bool:
        try:
            lease = await self._api.get(LEASE, self._lease.namespace, self._lease.name)
        except NotFoundError:
            self._version = ""
            return True
        self._version = lease["metadata"]["resourceVersion"]
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        record = f"{holder}/{spec.get('renewTime')}/{spec.get('leaseTransitions')}"
        if record != self._seen[0]:
            self._seen = (record, self._loop_time)
        expired = self._loop_time >= self._seen[1] + self._lease.seconds
        return holder in {"", self._lease.identity} or expired

    async def _write(self, *, holder: str, exists: bool) -> None:
        manifest: dict[str, Any] = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._lease.name, "namespace": self._lease.namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": max(1, int(self._lease.seconds)),
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        if not exists:
            answer = await self._api.create(LEASE, self._lease.namespace, manifest, FIELD_MANAGER)
        else:
            manifest["metadata"]["resourceVersion"] = self._version
            answer = await self._api.replace(LEASE, self._lease.namespace, self._lease.name, manifest, FIELD_MANAGER)
        self._version = answer["metadata"]["resourceVersion"]
