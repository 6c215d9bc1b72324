"""kopf, used low-level: it watches and hands over events; it writes nothing, anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import kopf

from agent_operator.cluster.kinds import WATCHED, Kind
from agent_operator.core.resources.metadata import Manifest
from agent_operator.handlers.intake import Intake

LONGEST_BACKOFF = 10.0


class _EndlessBackoff:
    """Delays of kopf's requests during an outage: they rise, and never end."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay
            delay = min(delay * 2, LONGEST_BACKOFF)


def make_settings() -> kopf.OperatorSettings:
    """Settings under which kopf only watches, and outlives the API server's absence."""
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = cast("Any", _EndlessBackoff())
    settings.networking.connect_timeout = 5
    settings.posting.enabled = False
    settings.watching.connect_timeout = 5
    settings.queueing.exit_timeout = 1.0
    for kind in WATCHED:
        if kind.selector:
            group = "" if kind.api_version == "v1" else kind.api_version.split("/")[0]
            settings.watching.label_selectors[group, kind.api_version.split("/")[-1], kind.plural] = kind.selector
    return settings


def make_registry(
    intake: Intake, started: Callable[[], Awaitable[None]], stopped: Callable[[], Awaitable[None]]
) -> kopf.OperatorRegistry:
    """Handlers of every kind that is watched, and of begin and end."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, retries=None)(_login)

    @kopf.on.startup(registry=registry)
    async def _startup(**_: object) -> None:
        await started()

    @kopf.on.cleanup(registry=registry)
    async def _cleanup(**_: object) -> None:
        await stopped()

    for kind in WATCHED:
        _register(registry, kind, intake)
    return registry


def _register(registry: kopf.OperatorRegistry, kind: Kind, intake: Intake) -> None:
    group = "" if kind.api_version == "v1" else kind.api_version.split("/")[0]

    @kopf.on.event(group, kind.api_version.split("/")[-1], kind.plural, registry=registry, id=f"watch-{kind.plural}")
    async def _event(event: kopf.RawEvent, **_: object) -> None:
        intake.take(kind, event["type"], cast("Manifest", dict(event["object"])))


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf's own arguments, handed on
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


async def watch(
    registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, namespaces: frozenset[str], stop: asyncio.Event
) -> None:
    """Watch until `stop` is set or the process is asked to end; raises if kopf cannot go on."""
    await kopf.operator(
        registry=registry,
        settings=settings,
        standalone=True,
        identity=cast("Any", "greylag"),  # kopf would look up the user's name, and a pod's user has none
        clusterwide=not namespaces,
        namespaces=sorted(namespaces),
        stop_flag=stop,
    )
