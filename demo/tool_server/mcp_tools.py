"""The shop's tools by MCP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from demo.tool_server import shop
from demo.tool_server.record import Call, Record

MAX_SLOW_SECONDS = 300.0
MAX_LARGE_KILOBYTES = 4096
Seconds = Annotated[float, Field(ge=0, le=MAX_SLOW_SECONDS)]
Kilobytes = Annotated[int, Field(ge=1, le=MAX_LARGE_KILOBYTES)]


def build_mcp_server(record: Record) -> MCPServer:
    """MCP server whose calls are noted."""
    server = MCPServer("shop", instructions="Knowledge and back office of a small shop.")
    _add_knowledge(server, record)
    _add_office(server, record)
    _add_misbehaviour(server, record)
    return server


def _add_knowledge(server: MCPServer, record: Record) -> None:
    @server.tool()
    async def search(query: str, context: Context) -> str:
        """Search the shop's articles."""
        _note(record, context, "search", query=query)
        return "\n".join(shop.articles_about(query))

    @server.tool()
    async def order_state(order_id: str, context: Context) -> str:
        """State of an order."""
        _note(record, context, "order_state", order_id=order_id)
        return str(shop.order_of(order_id)["state"])


def _add_office(server: MCPServer, record: Record) -> None:
    @server.tool()
    async def write_file(path: str, content: str, context: Context) -> str:
        """Write a file."""
        _note(record, context, "write_file", path=path, content=content)
        return f"wrote {len(content)} characters to {path}"

    @server.tool()
    async def run_command(command: str, context: Context) -> str:
        """Run a command."""
        _note(record, context, "run_command", command=command)
        return f"ran {command}"

    @server.tool()
    async def query_database(statement: str, context: Context) -> str:
        """Run an SQL statement."""
        _note(record, context, "query_database", statement=statement)
        return "1 row: (42)"


def _add_misbehaviour(server: MCPServer, record: Record) -> None:
    @server.tool()
    async def slow(seconds: Seconds, context: Context) -> str:
        """Answer after some seconds."""
        _note(record, context, "slow", seconds=seconds)
        await asyncio.sleep(seconds)
        return f"waited {seconds:g} seconds"

    @server.tool()
    async def broken(context: Context) -> str:
        """Fail."""
        _note(record, context, "broken")
        raise ValueError("this tool is broken")

    @server.tool()
    async def large(kilobytes: Kilobytes, context: Context) -> str:
        """Answer with a long text."""
        _note(record, context, "large", kilobytes=kilobytes)
        return "x" * kilobytes * 1024


def _note(record: Record, context: Context, tool: str, **arguments: object) -> None:
    headers = context.headers or {}
    meta: Any = context.request_context.meta or {}
    traceparent = meta.get("traceparent") or headers.get("traceparent")
    record.add(Call(tool, arguments, traceparent, authorized="authorization" in headers))
