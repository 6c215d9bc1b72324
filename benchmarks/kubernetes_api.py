"""An API server of dictionaries over real HTTP: just enough of Kubernetes to run the operator against, in numbers."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from aiohttp import web

Manifest = dict[str, Any]
_PATH = re.compile(
    r"^/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[a-z]+))?$"
)
_FOREVER = 3600
_METADATA_ONLY = "PartialObjectMetadata"
Asked = tuple[str, str]
"""Method and plural of a request; of a listing `LIST`, of a watch `WATCH`."""


class KubernetesApi:
    """Objects by plural, namespace and name; lists, watches, compare-and-swap, server-side apply without its owners."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[tuple[str, str], Manifest]] = defaultdict(dict)
        self.asked: dict[Asked, int] = defaultdict(int)
        self.watching = 0
        self.places_watched: set[str | None] = set()
        self.texts_told: set[str] = set()
        self.hanging: set[str] = set()
        """Names of objects that are never answered for."""
        self.failing: set[str] = set()
        """Names of objects that are answered for with an error."""
        self._version = 1
        self._watchers: dict[str, set[asyncio.Queue[tuple[str, Manifest]]]] = defaultdict(set)
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port; returns the address."""
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    def put(self, plural: str, manifest: Manifest) -> Manifest:
        """Store an object as somebody else's write, and tell who watches."""
        metadata = manifest["metadata"]
        key = metadata["namespace"], metadata["name"]
        known = self.objects[plural].get(key)
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        metadata.setdefault("uid", f"uid-{self._version}" if known is None else known["metadata"]["uid"])
        changed = known is not None and known.get("spec") != manifest.get("spec")
        metadata["generation"] = 1 if known is None else known["metadata"]["generation"] + int(changed)
        self.objects[plural][key] = manifest
        self._tell(plural, "ADDED" if known is None else "MODIFIED", manifest)
        return manifest

    def remove(self, plural: str, namespace: str, name: str) -> Manifest:
        """Delete an object, and tell who watches."""
        manifest = self.objects[plural].pop((namespace, name))
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        self._tell(plural, "DELETED", manifest)
        return manifest

    def _tell(self, plural: str, event: str, manifest: Manifest) -> None:
        for watcher in self._watchers[plural]:
            watcher.put_nowait((event, manifest))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        place = _PATH.match(request.path)
        if place is None:
            return _refuse(HTTPStatus.NOT_FOUND)
        namespace, plural, name = place["namespace"], place["plural"], place["name"]
        verb = request.method if name or request.method != "GET" else "LIST"
        verb = "WATCH" if request.query.get("watch") == "1" else verb
        self.asked[verb, plural] += 1
        if verb == "WATCH":
            return await self._watch(request, plural, namespace)
        if verb == "LIST":
            return self._list(request, plural, namespace)
        if verb == "POST":
            return self._create(plural, await request.json())
        return await self._one(request, plural, (namespace, name), place["subresource"])

    async def _one(
        self, request: web.Request, plural: str, key: tuple[str, str], subresource: str | None
    ) -> web.Response:
        if key[1] in self.hanging:
            await asyncio.sleep(_FOREVER)
        if key[1] in self.failing:
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        known = self.objects[plural].get(key)
        if known is None and request.method != "PATCH":
            return _refuse(HTTPStatus.NOT_FOUND)
        body = json.loads(await request.read() or b"{}")
        if known is None:
            return self._create(plural, body)
        if request.method == "DELETE":
            self.remove(plural, *key)
        elif request.method == "PUT":
            if body["metadata"].get("resourceVersion") != known["metadata"]["resourceVersion"]:
                return _refuse(HTTPStatus.CONFLICT)
            known = self.put(plural, body)
        elif request.method == "PATCH":
            only = {subresource: body.get(subresource)} if subresource == "status" else body
            known = self.put(plural, _merged(known, only))
        self.texts_told.add(key[1])
        return web.json_response(known)

    def _create(self, plural: str, manifest: Manifest) -> web.Response:
        metadata = manifest["metadata"]
        if (metadata["namespace"], metadata["name"]) in self.objects[plural]:
            return _refuse(HTTPStatus.CONFLICT)
        return web.json_response(self.put(plural, manifest))

    def _list(self, request: web.Request, plural: str, namespace: str | None) -> web.Response:
        first, size = int(request.query.get("continue", "0")), int(request.query.get("limit", "500"))
        found = [entry for entry in self.objects[plural].values() if _selects(request, entry, namespace)]
        left = str(first + size) if len(found) > first + size else ""
        items = [self._shown(request, manifest) for manifest in found[first : first + size]]
        return web.json_response(
            {"items": items, "metadata": {"resourceVersion": str(self._version), "continue": left}}
        )

    def _shown(self, request: web.Request, manifest: Manifest) -> Manifest:
        if _METADATA_ONLY in request.headers["Accept"]:
            return {"metadata": manifest["metadata"]}
        self.texts_told.add(manifest["metadata"]["name"])
        return manifest

    async def _watch(self, request: web.Request, plural: str, namespace: str | None) -> web.StreamResponse:
        queue: asyncio.Queue[tuple[str, Manifest]] = asyncio.Queue()
        version = int(request.query["resourceVersion"])
        for manifest in self.objects[plural].values():
            if int(manifest["metadata"]["resourceVersion"]) > version:
                queue.put_nowait(("MODIFIED", manifest))
        self._watchers[plural].add(queue)
        self.watching += 1
        self.places_watched.add(namespace)
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", "240"))):
                while True:
                    event, manifest = await queue.get()
                    if _selects(request, manifest, namespace):
                        line = {"type": event, "object": self._shown(request, manifest)}
                        await response.write(json.dumps(line).encode() + b"\n")
        except (TimeoutError, ConnectionError):
            return response
        finally:
            self.watching -= 1
            self._watchers[plural].discard(queue)


def _refuse(status: HTTPStatus) -> web.Response:
    return web.json_response({"message": status.phrase}, status=status)


def _selects(request: web.Request, manifest: Manifest, namespace: str | None) -> bool:
    metadata = manifest["metadata"]
    wanted = _pairs(request.query.get("labelSelector", ""))
    name = dict(_pairs(request.query.get("fieldSelector", ""))).get("metadata.name")
    labels = metadata.get("labels", {})
    here = namespace in {None, metadata["namespace"]} and name in {None, metadata["name"]}
    return here and all(labels.get(label) == value for label, value in wanted)


def _pairs(selector: str) -> Iterable[tuple[str, str]]:
    parts = [part.partition("=") for part in selector.split(",") if part]
    return [(name, value) for name, _, value in parts]


def _merged(live: Any, wanted: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return copy.deepcopy(wanted)
    return {**live, **{key: _merged(live.get(key), value) for key, value in wanted.items()}}
