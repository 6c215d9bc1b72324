"""A real HTTP API with the description that FastAPI makes of it."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

app = FastAPI(title="Weather")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0


class Place(BaseModel):
    name: str
    country: str = "DE"


class Report(BaseModel):
    place: Place
    degrees: float
    notes: list[str] = []


@app.get("/forecast/{city}", operation_id="forecast")
async def forecast(city: str, days: Annotated[int, Query(ge=1, le=7)] = 1, tags: Annotated[list[str], Query()] = ()):
    """Weather of the next days."""
    return {"city": city, "days": days, "tags": list(tags), "sunny": True}


@app.post("/reports", operation_id="send_report", status_code=201)
async def send_report(report: Report):
    """Take a report."""
    return report


@app.get("/headers", operation_id="headers")
async def headers(request: Request, x_unit: Annotated[str, Header()] = "celsius"):
    """Tell of headers."""
    names = ("authorization", "traceparent", "cookie")
    return {"unit": x_unit} | {name: request.headers.get(name, "") for name in names}


@app.get("/status/{code}", operation_id="status")
async def status(code: int):
    """Answer with a status."""
    return Response(f"status {code} it is", status_code=code, media_type="text/plain")


@app.get("/slow", operation_id="slow")
async def slow(seconds: float):
    """Answer later."""
    await asyncio.sleep(seconds)
    return "late"


@app.get("/away", operation_id="away")
async def away():
    """Lead to another host."""
    return RedirectResponse("http://169.254.169.254/latest/meta-data")


@app.get("/moved", operation_id="moved")
async def moved():
    """Lead to another path."""
    return RedirectResponse("/forecast/Berlin", status_code=302)


@app.get("/picture", operation_id="picture")
async def picture():
    """Answer with bytes."""
    return Response(b"\x89PNG\x00\x01", media_type="image/png")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
