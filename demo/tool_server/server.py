"""The HTTP side of the shop: its API, its description, its MCP endpoint, and what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, Field

from demo.tool_server import shop
from demo.tool_server.mcp_tools import MAX_SLOW_SECONDS, build_mcp_server
from demo.tool_server.record import Call, Record

MCP_PATH = "/mcp"
UNKNOWN_ORDER = "unknown"


class Refund(BaseModel):
    """Why money is given back."""

    reason: str = Field(max_length=1000, description="What the customer says.")


def create_server() -> FastAPI:
    """Application with a record of its own; its description is `GET /openapi.json`."""
    record = Record()
    mcp_server = build_mcp_server(record)
    # Within a cluster it is called by the name of its Service, which the check of hosts would have to know.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    mcp_app = mcp_server.streamable_http_app(streamable_http_path=MCP_PATH, transport_security=security)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with mcp_server.session_manager.run():
            yield

    app = FastAPI(title="Shop", version="1.0.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_api(app, record)
    _add_state(app, record)
    app.mount("/", mcp_app)
    return app


def _add_api(app: FastAPI, record: Record) -> None:
    def note(request: Request, tool: str, **arguments: object) -> None:
        headers = request.headers
        record.add(Call(tool, arguments, headers.get("traceparent"), authorized="authorization" in headers))

    @app.get("/weather", operation_id="getWeather")
    async def weather(request: Request, city: Annotated[str, Query(max_length=100)]) -> dict[str, Any]:
        """Weather of a city."""
        note(request, "getWeather", city=city)
        return shop.weather_in(city)

    @app.get("/orders/{order_id}", operation_id="getOrder")
    async def order(request: Request, order_id: str) -> dict[str, Any]:
        """One order."""
        note(request, "getOrder", order_id=order_id)
        if order_id == UNKNOWN_ORDER:
            raise HTTPException(404, "there is no such order")
        return shop.order_of(order_id)

    @app.post("/orders/{order_id}/refund", operation_id="refundOrder")
    async def refund(request: Request, order_id: str, body: Refund) -> dict[str, Any]:
        """Give the money of an order back; every call does so again."""
        note(request, "refundOrder", order_id=order_id, **body.model_dump())
        return {**shop.order_of(order_id), "state": "refunded"}

    @app.get("/slow", operation_id="waitSeconds")
    async def slow(request: Request, seconds: Annotated[float, Query(ge=0, le=MAX_SLOW_SECONDS)]) -> dict[str, Any]:
        """Answer after some seconds."""
        note(request, "waitSeconds", seconds=seconds)
        await asyncio.sleep(seconds)
        return {"waited": seconds}

    @app.get("/broken", operation_id="fail")
    async def broken(request: Request) -> None:
        """Fail."""
        note(request, "fail")
        raise HTTPException(500, "this tool is broken")


def _add_state(app: FastAPI, record: Record) -> None:
    @app.get("/stats", include_in_schema=False)
    async def stats() -> dict[str, Any]:
        """Calls since the start."""
        return record.report()

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        """Tell that the process is alive."""
        return {"status": "alive"}
