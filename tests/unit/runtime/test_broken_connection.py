"""Names of the causes for which there is no connection."""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp
import httpx2
import pytest
from aiohttp.client_reqrep import ConnectionKey

from agent_runtime.llm.broken_connection import cause_of

KEY = ConnectionKey("models.example", 443, True, True, None, None, None, None)


def connector(os_error, kind=aiohttp.ClientConnectorError):
    return kind(KEY, os_error)


CAUSES = {
    "refused": (connector(ConnectionRefusedError(errno.ECONNREFUSED, "no")), "connection refused"),
    "refused at every address": (connector(OSError(errno.ECONNREFUSED, "all")), "connection refused"),
    "no such name": (connector(socket.gaierror(-2, "no"), aiohttp.ClientConnectorDNSError), "unknown host"),
    "handshake": (connector(ssl.SSLError(1, "no"), aiohttp.ClientConnectorSSLError), "TLS failed"),
    "certificate": (
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "self-signed")),
        "TLS failed",
    ),
    "silence": (aiohttp.ConnectionTimeoutError("silence"), "timed out while connecting"),
    "silence that the system ended": (connector(TimeoutError(errno.ETIMEDOUT, "no")), "timed out while connecting"),
    "no route": (connector(OSError(errno.EHOSTUNREACH, "no")), "host unreachable"),
    "proxy": (
        connector(ConnectionRefusedError(errno.ECONNREFUSED, "no"), aiohttp.ClientProxyConnectionError),
        "proxy unreachable",
    ),
    "reset": (ConnectionResetError(errno.ECONNRESET, "reset"), "connection broke"),
    "silence after it was made": (aiohttp.ClientOSError(errno.ETIMEDOUT, "no"), "connection broke"),
    "left": (aiohttp.ServerDisconnectedError(), "connection broke"),
}


def caused(error, by):
    error.__cause__ = by
    return error


@pytest.mark.parametrize("case", CAUSES)
def test_connection_error_is_named_by_its_cause_and_by_nothing_of_its_text(case):
    error, named = CAUSES[case]
    assert cause_of(caused(httpx2.ConnectTimeout("http://user:password@models.example/v1?key=1"), error)) == named


def test_cause_is_found_where_the_system_raised_it():
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "no")
    assert cause_of(caused(httpx2.ConnectTimeout("no"), caused(aiohttp.ClientConnectionError("no"), refused))) == (
        "connection refused"
    )


def test_cause_is_found_where_an_error_was_raised_while_another_was_handled():
    error = httpx2.ReadError("no")
    error.__context__ = ssl.SSLError(1, "no")
    assert cause_of(error) == "TLS failed"
