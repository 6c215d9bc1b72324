"""Posts Events in their order, beside the work that they tell of: best effort, as they decide nothing."""

from __future__ import annotations

import asyncio

import structlog

from agent_operator.cluster import kinds
from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ApiError
from agent_operator.core.names import FIELD_MANAGER
from agent_operator.core.resources.metadata import Manifest

MAX_WAITING = 1000
log = structlog.get_logger(__name__)


class Events:
    """A bounded queue of Events; one that finds it full, or that the API server does not take, is dropped."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: asyncio.Queue[tuple[str, Manifest]] = asyncio.Queue(MAX_WAITING)

    def post(self, namespace: str, event: Manifest) -> None:
        """Have an Event posted."""
        try:
            self._waiting.put_nowait((namespace, event))
        except asyncio.QueueFull:
            log.warning("an Event is dropped: too many wait", namespace=namespace, reason=event["reason"])

    async def run(self) -> None:
        """Post what waits, until cancelled."""
        while True:
            namespace, event = await self._waiting.get()
            try:
                await self._api.create(kinds.EVENT, namespace, event, FIELD_MANAGER)
            except ApiError as error:
                log.warning("an Event was not taken", namespace=namespace, reason=event["reason"], error=str(error))
