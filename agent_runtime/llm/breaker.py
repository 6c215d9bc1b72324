"""Leaves an endpoint alone that fails; what one pod learns, all pods of the revision know within a second."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent_api.report import BreakerReport
from agent_runtime.core import breaker as core
from agent_runtime.core.breaker import Admission, BreakerState
from agent_runtime.llm import breaker_scripts
from agent_runtime.llm.client import EndpointFailed, EndpointRefused, StreamBroken
from agent_runtime.store.circuit import StoreUnavailable

if TYPE_CHECKING:
    from agent_api.runtime_document import BreakerDocument, EndpointDocument, RuntimeDocument
    from agent_runtime.llm.client import ModelAnswer, ModelClient, ModelRequest
    from agent_runtime.store.connection import Script, Store

READ_SECONDS = 1.0
"""How old the shared state may be that a call goes by."""

PROBE_MARGIN_SECONDS = 5.0


class Breakers:
    """The breakers of one process, one for each endpoint; without a store, each pod learns by itself."""

    def __init__(self, document: RuntimeDocument, store: Store | None) -> None:
        self._endpoints = [
            EndpointBreaker(
                endpoint.model,
                document.breaker,
                endpoint.total_seconds + PROBE_MARGIN_SECONDS,
                None if store is None else SharedBreaker(store, _key(store, document, endpoint, position)),
            )
            for position, endpoint in enumerate(document.endpoints)
        ]

    def client(self, position: int, inner: ModelClient) -> BreakerClient:
        """Client of the endpoint at a position, behind its breaker."""
        return BreakerClient(self._endpoints[position], inner)

    def open_breakers(self) -> tuple[BreakerReport, ...]:
        """Endpoints that are left alone now."""
        left = ((endpoint.model, endpoint.seconds_open()) for endpoint in self._endpoints)
        return tuple(BreakerReport(model=model, seconds=seconds) for model, seconds in left if seconds > 0)

    async def run(self) -> None:
        """Follow the endpoints that are left alone, endlessly: another pod may find them well again."""
        while True:
            await asyncio.sleep(READ_SECONDS)
            for endpoint in self._endpoints:
                if endpoint.known_open:
                    await endpoint.share()


class BreakerClient:
    """Asks one endpoint unless it is left alone."""

    def __init__(self, breaker: EndpointBreaker, inner: ModelClient) -> None:
        self._breaker = breaker
        self._inner = inner

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request; raises EndpointRefused while the breaker is open, else as the inner client does."""
        breaker = self._breaker
        probing = await breaker.admit(forced=request.forced)
        told = not probing
        try:
            answer = await self._inner.complete(request)
            told = True
            # An answer that a forced call got proves as much as a probe.
            await breaker.ended(probing=probing or request.forced, failed=False)
        except (EndpointFailed, StreamBroken) as failure:
            # A run whose own time was over says nothing of the endpoint.
            if core.counts(failure.fault) and asyncio.get_running_loop().time() < request.deadline:
                told = True
                await breaker.ended(probing=probing, failed=True, retry_after=failure.fault.retry_after or 0.0)
            raise
        finally:
            if not told:
                await breaker.probe_given_back()
        return answer


class SharedBreaker:
    """What all pods know of one endpoint; None is answered while the store is away."""

    def __init__(self, store: Store, key: str) -> None:
        self._keys = [key]
        self._share = store.script(breaker_scripts.SHARE)
        self._probe = store.script(breaker_scripts.PROBE)
        self._probed = store.script(breaker_scripts.PROBED)

    async def share(
        self, calls: int, failures: int, open_seconds: float, policy: BreakerDocument
    ) -> tuple[float, float] | None:
        """Tell what was seen; answers for how long it is open, negative if it is not, and a probe is under way."""
        window = (
            policy.failure_threshold,
            policy.failure_percent,
            core.bucket_seconds(policy),
            policy.recovery_seconds,
        )
        answer = await self._ask(self._share, [calls, failures, open_seconds, *window])
        return None if answer is None else (float(answer[0]), float(answer[1]))

    async def ask_for_probe(self, lease: float) -> tuple[bool, float, float] | None:
        """Whether this process may probe; then as `share`."""
        answer = await self._ask(self._probe, [lease])
        return None if answer is None else (bool(answer[0]), float(answer[1]), float(answer[2]))

    async def probed(self, outcome: str, open_seconds: float = 0.0) -> bool:
        """Tell what the probe found (ok, failed or none); whether that arrived."""
        return await self._ask(self._probed, [outcome, open_seconds]) is not None

    async def _ask(self, script: Script, arguments: Sequence[str | float]) -> Any:  # noqa: ANN401 - Lua
        try:
            return await script(self._keys, arguments)
        except StoreUnavailable:
            return None


class EndpointBreaker:
    """The breaker of one endpoint in one process."""

    def __init__(self, model: str, policy: BreakerDocument, lease: float, shared: SharedBreaker | None) -> None:
        self.model = model
        self._policy = policy
        self._lease = lease
        self._shared = shared
        self._state = BreakerState()
        self._unshared = [0, 0]
        self._shared_at = float("-inf")
        self._sharing = False
        self._unpublished = False

    @property
    def known_open(self) -> bool:
        """Whether it is not closed."""
        return self._state.open_until is not None

    def seconds_open(self) -> float:
        """How long nothing is let through; 0 if it is closed or may be tried."""
        return core.seconds_to_probe(self._state, _now()) if self.known_open else 0.0

    async def admit(self, *, forced: bool) -> bool:
        """Let a call through, or raise EndpointRefused; tells whether it is the probe."""
        if _now() - self._shared_at >= READ_SECONDS:
            await self.share()
        admission = core.admission(self._state, _now())
        if admission is Admission.PROBE and await self._take_probe():
            return True
        if forced or not self.known_open:
            return False
        raise EndpointRefused(self.model, "circuit open", retry_after=self.seconds_open())

    async def ended(self, *, probing: bool, failed: bool, retry_after: float = 0.0) -> None:
        """Count a call that ended."""
        now, was_open = _now(), self.known_open
        if probing and was_open:
            self._state = core.note_probe(self._policy, now, failed=failed, retry_after=retry_after)
            await self._tell_probe(failed=failed)
            return
        before = self._state
        self._state = core.note(before, self._policy, now, failed=failed, retry_after=retry_after)
        if not was_open:
            self._unshared = [self._unshared[0] + 1, self._unshared[1] + int(failed)]
        if self._state.open_until != before.open_until:
            self._unpublished = True
        if failed:
            await self.share()

    async def probe_given_back(self) -> None:
        """Note that the probe ended without telling anything of the endpoint."""
        self._state = core.drop_probe(self._state)
        if self._shared is not None:
            await self._shared.probed("none")

    async def share(self) -> None:
        """Tell the store what this process saw and take over what others did; one that is away changes nothing."""
        if self._shared is None or self._sharing:
            return
        self._sharing, self._shared_at = True, _now()
        was_open, publishing, (calls, failures) = self.known_open, self._unpublished, self._unshared
        self._unshared = [0, 0]
        try:
            answer = await self._shared.share(calls, failures, self.seconds_open() if publishing else 0.0, self._policy)
        finally:
            self._sharing = False
        if answer is None:
            return
        if publishing:
            self._unpublished = False
        self._adopt(*answer, was_open=was_open)

    def _adopt(self, open_seconds: float, probe_seconds: float, *, was_open: bool) -> None:
        now = _now()
        if open_seconds >= 0:
            probe_until = now + probe_seconds if probe_seconds > 0 else float("-inf")
            self._state = BreakerState(open_until=now + open_seconds, probe_until=probe_until)
        elif was_open:
            # The store knows of no failures any more: another pod's probe found the endpoint well.
            self._state = BreakerState()

    async def _take_probe(self) -> bool:
        self._state = core.take_probe(self._state, _now(), self._lease)
        answer = None if self._shared is None else await self._shared.ask_for_probe(self._lease)
        if answer is None:
            return True
        granted, open_seconds, probe_seconds = answer
        if not granted:
            self._adopt(open_seconds, probe_seconds, was_open=True)
        return granted

    async def _tell_probe(self, *, failed: bool) -> None:
        if self._shared is not None:
            told = await self._shared.probed("failed" if failed else "ok", self.seconds_open())
            self._unpublished = failed and not told


def _now() -> float:
    return asyncio.get_running_loop().time()


def _key(store: Store, document: RuntimeDocument, endpoint: EndpointDocument, position: int) -> str:
    """Name of a breaker: a bad canary, or a bad key, must not open that of stable."""
    name = f"{endpoint.model}\n{endpoint.base_url}\n{position}"
    return store.key("breaker", document.revision, hashlib.sha256(name.encode()).hexdigest()[:16])
