"""ConfigMaps of instructions: read by name, followed by one watch, however many; the Lease needs none of it."""

from __future__ import annotations

import asyncio

import pytest

from agent_operator.cluster import instructions as instructions_module
from agent_operator.cluster.api import Api
from agent_operator.cluster.elector import Elector, LeaseName
from agent_operator.cluster.errors import ApiError
from agent_operator.cluster.instructions import InstructionSources
from tests.support.api_server import serving

WAIT = 10.0
LEASE_SECONDS = 3.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(instructions_module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(instructions_module, "PAUSE_SECONDS", 0.02)


@pytest.fixture
async def served(tmp_path, monkeypatch):
    async with serving(tmp_path, monkeypatch) as (server, connections):
        yield server, connections


class Watching:
    """Sources over a server, and the keys that they said had changed."""

    def __init__(self, served, namespaces=frozenset()):
        self.server, self.connections = served
        self.changed = []
        api, watching = Api(self.connections.requests), Api(self.connections.watches)
        self.sources = InstructionSources(api, watching, self.changed.append, namespaces)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error):
        await self.sources.close()

    def put(self, name, namespace="ns", **data):
        self.server.put("configmaps", {"metadata": {"namespace": namespace, "name": name}, "data": data})

    async def text(self, name, namespace="ns"):
        source = await self.sources.read((namespace, name))
        return None if source.data is None else source.data.get("a")

    async def watched(self, watches=1):
        await until(lambda: self.server.watching == watches)


async def until(condition):
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_change_is_noticed_and_told_once(served):
    async with Watching(served) as w:
        w.put("cm", a="one")
        assert await w.text("cm") == "one"
        await w.watched()
        w.put("cm", a="two")
        await until(lambda: w.changed == [("ns", "cm")])
        assert await w.text("cm") == "two"


async def test_a_change_of_labels_alone_is_none(served):
    async with Watching(served) as w:
        w.put("cm", a="one")
        w.put("other", a="x")
        await w.text("cm")
        await w.text("other")
        await w.watched()
        w.put("cm", a="one")
        w.put("other", a="y")
        await until(lambda: w.changed == [("ns", "other")])


async def test_one_that_is_missing_is_noticed_when_it_comes_and_when_it_goes(served):
    async with Watching(served) as w:
        assert await w.text("cm") is None
        await w.watched()
        w.put("cm", a="one")
        await until(lambda: len(w.changed) == 1)
        assert await w.text("cm") == "one"
        w.server.remove("configmaps", "ns", "cm")
        await until(lambda: len(w.changed) == 2)
        assert await w.text("cm") is None


async def test_what_changes_between_the_first_read_and_the_watch_is_noticed(served):
    async with Watching(served) as w:
        w.put("cm", a="one")
        await w.text("cm")
        w.put("cm", a="two")
        await until(lambda: w.changed == [("ns", "cm")])


async def test_nothing_is_read_of_config_maps_that_no_agent_names(served):
    async with Watching(served) as w:
        for number in range(5):
            w.put(f"other-{number}", a="secret enough")
        w.put("cm", a="one")
        await w.text("cm")
        await w.watched()
        w.put("other-1", a="changed")
        w.put("cm", a="two")
        await until(lambda: w.changed == [("ns", "cm")])
        assert w.server.texts_told == {"cm"}


async def test_a_watch_that_ends_goes_on_where_it_was(served, monkeypatch):
    monkeypatch.setattr(instructions_module, "WATCH_SECONDS", 1)
    async with Watching(served) as w:
        w.put("cm", a="one")
        await w.text("cm")
        await until(lambda: w.server.asked["WATCH", "configmaps"] >= 2)
        lists = w.server.asked["LIST", "configmaps"]
        w.put("cm", a="two")
        await until(lambda: w.changed == [("ns", "cm")])
        assert w.server.asked["LIST", "configmaps"] == lists == 1


async def test_what_nobody_wants_any_more_is_forgotten(served):
    async with Watching(served) as w:
        w.put("cm", a="one")
        w.put("kept", a="one")
        await w.text("cm")
        await w.text("kept")
        await w.watched()
        # One that is being read just then is kept for the next time.
        await until(lambda: w.sources.keep({("ns", "kept")}) or ("ns", "cm") not in w.sources._turns)
        w.put("cm", a="two")
        w.put("kept", a="two")
        await until(lambda: w.changed == [("ns", "kept")])
        assert await w.text("cm") == "two"


async def test_with_chosen_namespaces_only_those_are_watched(served):
    async with Watching(served, frozenset({"ns", "other"})) as w:
        w.put("cm", a="one")
        await w.text("cm")
        await w.watched(2)
        assert w.server.places_watched == {"ns", "other"}
        w.put("cm", a="two")
        await until(lambda: w.changed == [("ns", "cm")])


async def test_a_long_annotation_does_not_end_the_watch(served):
    async with Watching(served) as w:
        w.put("cm", a="one")
        await w.text("cm")
        await w.watched()
        metadata = {"namespace": "ns", "name": "cm", "annotations": {"last-applied": "x" * 250_000}}
        w.server.put("configmaps", {"metadata": metadata, "data": {"a": "two"}})
        await until(lambda: w.changed == [("ns", "cm")])
        assert w.server.asked["WATCH", "configmaps"] == 1


async def test_a_read_that_fails_is_told_and_tried_again_by_the_next(served):
    async with Watching(served) as w:
        w.put("cm", a="one")
        w.server.failing.add("cm")
        with pytest.raises(ApiError, match="configmaps/cm"):
            await w.text("cm")
        w.server.failing.clear()
        assert await w.text("cm") == "one"


async def test_the_lease_is_renewed_beside_two_hundred_sources_and_requests_that_hang(served):
    lease = LeaseName("ops", "lease", "me", LEASE_SECONDS)
    async with Watching(served) as w:
        elector = Elector(Api(w.connections.lease), lease)
        await elector.acquire()
        holding = asyncio.create_task(elector.hold())
        for number in range(200):
            w.put(f"cm-{number}", f"ns-{number % 20}", a=str(number))
        w.server.hanging.update(f"hangs-{number}" for number in range(100))
        hanging = [asyncio.create_task(w.text(f"hangs-{number}")) for number in range(100)]
        for number in range(200):
            reading = asyncio.create_task(w.text(f"cm-{number}", f"ns-{number % 20}"))
            hanging.append(reading)
        renewals = w.server.asked["PUT", "leases"]
        await asyncio.sleep(LEASE_SECONDS + 1)
        assert elector.leads()
        assert w.server.asked["PUT", "leases"] - renewals >= 5
        holding.cancel()
        for task in hanging:
            task.cancel()
        await asyncio.gather(holding, *hanging, return_exceptions=True)


async def test_two_thousand_sources_take_one_watch(served):
    async with Watching(served) as w:
        for number in range(2000):
            w.put(f"cm-{number}", f"ns-{number % 500}", a=str(number))
        texts = await asyncio.gather(*(w.text(f"cm-{number}", f"ns-{number % 500}") for number in range(2000)))
        assert texts == [str(number) for number in range(2000)]
        await w.watched()
        w.put("cm-1999", "ns-499", a="new")
        await until(lambda: w.changed == [("ns-499", "cm-1999")])
        assert w.server.asked["WATCH", "configmaps"] == 1
