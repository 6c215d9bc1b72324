"""Long polls to every ready gateway pod of ours: what each has in force, as soon as it changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from http import HTTPStatus

import aiohttp
import structlog
from pydantic import ValidationError

from agent_api.acknowledgement import APPLIED_PATH, Applied, AppliedRoute
from agent_operator.cluster.peers import Peer, read_body
from agent_operator.cluster.store import Key

WAIT_SECONDS = 20
RETRY_SECONDS = 0.5
log = structlog.get_logger(__name__)


class Acknowledgements:
    """One long poll a gateway pod; `changed` is told the key of each agent whose answer changed."""

    def __init__(self, session: aiohttp.ClientSession, changed: Callable[[Key], None]) -> None:
        self._session = session
        self._changed = changed
        self._polls: dict[tuple[str, Peer], asyncio.Task[None]] = {}
        self._answers: dict[tuple[str, str], Applied] = {}
        self._asked: set[tuple[str, str]] = set()

    def follow(self, namespace: str, peers: Iterable[Peer]) -> None:
        """Poll exactly these pods of a namespace."""
        wanted = {(namespace, peer) for peer in peers}
        for entry in [entry for entry in self._polls if entry[0] == namespace and entry not in wanted]:
            self._polls.pop(entry).cancel()
            self._answers.pop((namespace, entry[1].name), None)
            self._asked.discard((namespace, entry[1].name))
        for entry in wanted - self._polls.keys():
            self._polls[entry] = asyncio.create_task(self._poll(*entry), name=f"poll {entry[1].name}")

    def applied(self, namespace: str, agent: str) -> dict[str, AppliedRoute]:
        """What the gateway pods of a namespace have in force for an agent, by pod."""
        return {
            pod: answer.routes[agent]
            for (place, pod), answer in self._answers.items()
            if place == namespace and agent in answer.routes
        }

    def fields(self, namespace: str) -> dict[str, frozenset[str]]:
        """Fields of a route that each gateway pod of a namespace enforces."""
        return {pod: frozenset(answer.fields) for (place, pod), answer in self._answers.items() if place == namespace}

    def asked(self, namespace: str, pods: Iterable[str]) -> bool:
        """Whether each of these pods has been asked once, whatever it answered."""
        return all((namespace, pod) in self._asked for pod in pods)

    def check(self) -> None:
        """Raise the error of a poll that died, so that its death is not silent."""
        for poll in self._polls.values():
            if poll.done() and not poll.cancelled():
                poll.result()

    async def close(self) -> None:
        """End every poll."""
        polls = list(self._polls.values())
        self._polls.clear()
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    async def _poll(self, namespace: str, peer: Peer) -> None:
        while True:
            known = self._answers.get((namespace, peer.name))
            answer = await self._ask(peer, known)
            self._asked.add((namespace, peer.name))
            if answer is None:
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                continue
            self._answers[namespace, peer.name] = answer
            before = {} if known is None else known.routes
            for agent in before.keys() | answer.routes.keys():
                if before.get(agent) != answer.routes.get(agent):
                    self._changed((namespace, agent))

    async def _ask(self, peer: Peer, known: Applied | None) -> Applied | None:
        """The next answer; None if the pod did not give one."""
        query = {} if known is None else {"since": str(known.version), "boot": known.boot, "wait": str(WAIT_SECONDS)}
        url = f"http://{peer.address}:{peer.port}{APPLIED_PATH}"
        timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS + 5)
        try:
            async with self._session.get(url, params=query, timeout=timeout, allow_redirects=False) as response:
                body = await read_body(response)
                answered = response.status == HTTPStatus.OK and body is not None
                return Applied.model_validate_json(body or b"", extra="ignore") if answered else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        except ValidationError as error:
            log.warning("gateway answers nonsense", pod=peer.name, errors=error.error_count())
            return None
