"""Why there is no connection to an endpoint: what the HTTP client raises is named by its cause."""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING

import aiohttp
import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTION_ERRORS = (httpx2.HTTPError, aiohttp.ClientError, OSError)
BROKEN = "connection broke"

_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientProxyConnectionError, "proxy unreachable"),
    (aiohttp.ClientHttpProxyError, "proxy refused"),
    (aiohttp.ClientSSLError, "TLS failed"),
    (ssl.SSLError, "TLS failed"),
    (aiohttp.ClientConnectorDNSError, "unknown host"),
    (aiohttp.ConnectionTimeoutError, "timed out while connecting"),
    (ConnectionRefusedError, "connection refused"),
)
"""The first that is found anywhere in the chain of causes holds."""

_CAUSES_BY_NUMBER = {
    errno.ECONNREFUSED: "connection refused",
    errno.ETIMEDOUT: "timed out while connecting",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "host unreachable",
}


def cause_of(error: BaseException) -> str:
    """Why a call met a connection error; one of few texts, and nothing of the error's own."""
    chain = tuple(_chain_of(error))
    for kind, cause in _CAUSES:
        if any(isinstance(link, kind) for link in chain):
            return cause
    numbers = (link.errno for link in chain if isinstance(link, aiohttp.ClientConnectorError))
    return next((_CAUSES_BY_NUMBER[number] for number in numbers if number in _CAUSES_BY_NUMBER), BROKEN)


def _chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
