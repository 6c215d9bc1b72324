"""Requests to the API server over the official client's transport: JSON in, JSON out, every one with a time limit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import aiohttp
from kubernetes.aio import client, config

from agent_operator.cluster.errors import ApiError, ConflictError, UnreachableError, error_of
from agent_operator.cluster.kinds import Kind
from agent_operator.core.resources.metadata import Manifest

REQUEST_SECONDS = 10.0
LIST_SECONDS = 60.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PAGE = 500
MAX_EVENT_BYTES = 4 * 1024 * 1024
REQUESTS_AT_ONCE = 64
LEASE_REQUESTS_AT_ONCE = 2
NO_LIMIT = 0


class NotLeadingError(ApiError):
    """A write was refused because this replica does not lead, or not any more."""


class Api:
    """The API server. Writes pass only while `may_write` says so: a former leader must not write."""

    def __init__(self, api_client: client.ApiClient, may_write: Callable[[], bool] = lambda: True) -> None:
        self._client = api_client
        self._may_write = may_write

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Read one object; raises NotFoundError."""
        return await self._request("GET", kind.path(namespace, name))

    async def list_metadata(self, kind: Kind, namespace: str | None) -> tuple[list[Manifest], str]:
        """Nothing but the metadata of objects of a kind, with the resource version to watch from."""
        return await self._pages(kind, namespace, METADATA_LIST)

    async def _pages(self, kind: Kind, namespace: str | None, accept: str) -> tuple[list[Manifest], str]:
        items: list[Manifest] = []
        query = {"limit": str(PAGE), "labelSelector": kind.selector}
        while True:
            page = await self._request("GET", kind.path(namespace), query=query, seconds=LIST_SECONDS, accept=accept)
            items.extend(page["items"])
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return items, page["metadata"]["resourceVersion"]

    async def list(self, kind: Kind, namespace: str | None = None) -> tuple[list[Manifest], str]:
        """Objects of a kind in pages, with the resource version to watch from."""
        items, version = await self._pages(kind, namespace, JSON)
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items], version

    async def create(self, kind: Kind, namespace: str, manifest: Manifest, manager: str) -> Manifest:
        """Create an object; raises ConflictError if it exists."""
        return await self._write("POST", kind.path(namespace), manifest, {"fieldManager": manager})

    async def replace(self, kind: Kind, namespace: str, name: str, manifest: Manifest, manager: str) -> Manifest:
        """Replace an object whose resource version the manifest names; raises ConflictError if it moved on."""
        return await self._write("PUT", kind.path(namespace, name), manifest, {"fieldManager": manager})

    async def apply(
        self, kind: Kind, manifest: Manifest, manager: str, *, force: bool, subresource: str | None = None
    ) -> Manifest:
        """Server-side apply."""
        metadata = manifest["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], subresource)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._write("PATCH", path, manifest, query, content_type=APPLY)

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int, manager: str) -> None:
        """Set the replicas through the scale subresource."""
        path = kind.path(namespace, name, "scale")
        body = {"spec": {"replicas": replicas}}
        await self._write("PATCH", path, body, {"fieldManager": manager}, content_type=MERGE)

    async def delete(self, kind: Kind, manifest: Manifest) -> None:
        """Delete exactly the object that was seen; one that is gone or another by now is left alone."""
        metadata = manifest["metadata"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": metadata["uid"]}}
        try:
            await self._write("DELETE", kind.path(metadata["namespace"], metadata["name"]), body, {})
        except ConflictError:
            return

    @asynccontextmanager
    async def watch_metadata(
        self, kind: Kind, namespace: str | None, *, version: str, seconds: float
    ) -> AsyncIterator[AsyncIterator[Manifest]]:
        """Watch events that tell nothing but metadata, as the API server writes them, for at most `seconds`."""
        query = {
            "watch": "1",
            "labelSelector": kind.selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }
        response = await self._send("GET", kind.path(namespace), None, query, seconds + REQUEST_SECONDS, METADATA)
        try:
            yield _events(response)
        finally:
            response.close()

    async def _write(
        self, method: str, path: str, body: Manifest, query: dict[str, str], content_type: str = JSON
    ) -> Manifest:
        if not self._may_write():
            raise NotLeadingError(f"{method} {path}: this replica does not lead")
        return await self._request(method, path, body=body, query=query, content_type=content_type)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        query: dict[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        seconds: float = REQUEST_SECONDS,
    ) -> Manifest:
        response = await self._send(method, path, body, query or {}, seconds, accept, content_type)
        try:
            return cast("Manifest", json.loads(await response.read()))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__}") from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Manifest | None,
        query: dict[str, str],
        seconds: float,
        accept: str,
        content_type: str = JSON,
    ) -> aiohttp.ClientResponse:
        pairs = [(key, value) for key, value in query.items() if value]
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            request = await self._client.param_serialize(
                method, path, query_params=pairs, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=seconds))
            response: aiohttp.ClientResponse = answer.response
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise error_of(response.status, await response.read(), f"{method} {path}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__}") from error
        return response


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Manifest]:
    try:
        async for line in _lines(response):
            yield json.loads(line)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise UnreachableError(f"watch: {type(error).__name__}") from error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length within MAX_EVENT_BYTES: aiohttp's own refuse one of 128 KiB, as `kubectl apply` may make."""
    left = b""
    async for piece in response.content.iter_any():
        *lines, left = (left + piece).split(b"\n")
        for line in filter(bytes.strip, lines):
            yield line
        if len(left) > MAX_EVENT_BYTES:
            raise ValueError("an event is too long")


@dataclass(frozen=True, slots=True)
class Connections:
    """Ways to the API server that take no connection from each other: for the Lease, for watches, for all else."""

    lease: client.ApiClient
    watches: client.ApiClient
    requests: client.ApiClient

    async def close(self) -> None:
        """Close every connection."""
        for api_client in (self.lease, self.watches, self.requests):
            await api_client.close()  # type: ignore[no-untyped-call]


async def connect() -> Connections:
    """Connections by the pod's service account, or by the reader's kube config outside a cluster."""
    return Connections(
        lease=client.ApiClient(await _configuration(LEASE_REQUESTS_AT_ONCE)),
        watches=client.ApiClient(await _configuration(NO_LIMIT)),
        requests=client.ApiClient(await _configuration(REQUESTS_AT_ONCE)),
    )


async def _configuration(at_once: int) -> client.Configuration:
    """Where the API server is and who asks it; each client renews its own token."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = at_once
    return configuration
