"""The page of the API: complete, safe, and without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from agent_runtime.routes.pages import api_page, pages_router

VOID = {"meta", "br"}
IMPLIED = {"tr", "td", "p"}


class Inner(BaseModel):
    """Something inside."""

    kind: str = Field(pattern="^[<>]$", description="Either `<` or `>`.")


class Question(BaseModel):
    """What is asked."""

    query: str = Field(min_length=1, max_length=9, description="<script>alert(1)</script>")
    inner: list[Inner] | None = None
    loud: bool = False


@pytest.fixture
def page():
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/ask/{who}")
    async def ask(who: str, question: Question) -> Inner:
        """Ask, with `stream` or <b>without</b>."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Tell."""

    app.include_router(pages_router("Agent <x>", app.openapi))
    return TestClient(app).get("/docs")


class Reader(HTMLParser):
    """Elements and links; fails where elements do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.ids = [], set(), [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag not in VOID | IMPLIED:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in IMPLIED:
            assert self.open.pop() == tag


@pytest.fixture
def read(page):
    reader = Reader()
    reader.feed(page.text)
    assert reader.open == []
    return reader


def test_page_is_html_that_may_load_nothing(page):
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "://" not in page.text.replace("http://HOST", "")


def test_page_has_no_script_and_links_only_to_itself_and_the_description(read):
    assert not read.tags & {"script", "img", "link", "iframe", "b"}
    inside = {link.removeprefix("#") for link in read.links if link.startswith("#")}
    assert inside == {"Question", "Inner", "HTTPValidationError", "ValidationError"}
    assert inside <= read.ids
    assert set(read.links) - {f"#{name}" for name in inside} == {"openapi.json"}


def test_page_shows_every_endpoint_with_its_fields(page):
    text = re.sub("<[^>]+>", " ", page.text)
    for word in ("POST", "/ask/{who}", "who (path)", "query", "required", "GET", "/health", "list of"):
        assert word in text
    assert "from 1 characters, up to 9 characters" in text
    assert "default  false" in text


def test_texts_of_the_description_are_escaped(page):
    assert "&lt;script&gt;" in page.text
    assert "with <code>stream</code> or &lt;b&gt;without" in page.text
    assert "<title>Agent &lt;x&gt;</title>" in page.text


def test_an_empty_description_is_a_page_too():
    assert api_page("x", {"paths": {}}).startswith("<!doctype html>")
