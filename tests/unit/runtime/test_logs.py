"""Log lines."""

from __future__ import annotations

import asyncio
import json
import logging
import re

import pytest
import structlog

from agent_runtime.telemetry.logs import (
    _MUTED_LOGGERS,
    _QUIET_LOGGERS,
    bind_to_run,
    configure_logging,
    run_context,
    user_hash,
)

SECRET = 'sk-"quoted\\secret'


@pytest.fixture
def restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in (*_QUIET_LOGGERS, *_MUTED_LOGGERS)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def test_secret_is_blotted_out_of_every_kind_of_line(restored, capsys):
    configure_logging(lambda: (SECRET,))
    structlog.get_logger("ours").info("said", text=f"key {SECRET}")
    try:
        int(SECRET)
    except ValueError:
        structlog.get_logger("ours").exception("failed")
        logging.getLogger("theirs").exception("failed with %s", SECRET)
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 3
    assert "quoted" not in out
    assert lines[0]["text"] == "key ***"
    assert "ValueError" in lines[1]["exception"]


def test_logger_used_before_the_secrets_were_known_blots_them_too(restored, capsys):
    configure_logging(tuple)
    logger = structlog.get_logger("early").bind()
    logger.info("starts")
    configure_logging(lambda: ("hunter2",))
    logger.info("said", text="hunter2")
    assert "hunter2" not in capsys.readouterr().out


@pytest.fixture
def lines(restored, capsys):
    """Configures logging, and returns what was logged since."""

    def start(redact=None, secrets=()):
        configure_logging(lambda: secrets, redact)
        capsys.readouterr()
        return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return start


def test_lines_of_a_run_carry_its_fields_and_others_do_not(lines):
    read = lines()
    with run_context(request_id="r-1", revision="support-1", conversation="c0ffee", trace_id="ab" * 16):
        structlog.get_logger("ours").info("inside")
        logging.getLogger("theirs").warning("inside too")
        structlog.get_logger("ours").info("own", request_id="r-own")
    structlog.get_logger("ours").info("outside")
    inside, theirs, own, outside = read()
    for line in (inside, theirs):
        assert (line["request_id"], line["revision"], line["conversation"]) == ("r-1", "support-1", "c0ffee")
        assert line["trace_id"] == "ab" * 16
        assert "user" not in line
    assert own["request_id"] == "r-own"
    assert "request_id" not in outside


async def test_runs_side_by_side_keep_their_fields_apart(lines):
    read = lines()

    async def one(number):
        with run_context(request_id=f"r-{number}", revision="s"):
            bind_to_run(user=f"u-{number}")
            await asyncio.sleep(0)
            await asyncio.create_task(inner(number))

    async def inner(number):
        structlog.get_logger("ours").info("inner", number=number)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert {(line["number"], line["request_id"], line["user"]) for line in read()} == {
        (number, f"r-{number}", f"u-{number}") for number in range(20)
    }


async def test_run_that_another_task_closes_is_left_without_complaint(lines):
    read = lines()

    async def stream():
        with run_context(request_id="r-1", revision="s"):
            yield

    running = stream()
    await asyncio.create_task(anext(running))
    await asyncio.create_task(running.aclose())
    structlog.get_logger("ours").info("after")
    assert ["request_id" in line for line in read()] == [False]


def test_redaction_reaches_every_value_and_keeps_the_line_json(lines):
    read = lines(lambda text: re.sub(r"hunter\S*", "[gone]", text))
    structlog.get_logger("ours").info("said", note='x="hunter2"', deep={"list": ["hunter3", 7, None, True]}, number=1.5)
    logging.getLogger("theirs").warning("key %s", "hunter4")
    try:
        int("hunter5")
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    ours, theirs, failed = read()
    assert ours["note"] == 'x="[gone]'
    assert (ours["deep"], ours["number"]) == ({"list": ["[gone]", 7, None, True]}, 1.5)
    assert theirs["event"] == "key [gone]"
    assert "hunter" not in failed["exception"]


def test_redaction_leaves_the_ids_that_tie_lines_together(lines):
    read = lines(lambda text: "[gone]")
    with run_context(request_id="r-1", revision="support-1", trace_id="ab" * 16):
        structlog.get_logger("ours").info("said")
    (line,) = read()
    assert (line["request_id"], line["trace_id"], line["revision"]) == ("r-1", "ab" * 16, "support-1")
    assert (line["event"], line["level"]) == ("[gone]", "info")


def test_value_is_blotted_if_the_redaction_fails(lines):
    def broken(text):
        raise ValueError

    read = lines(broken)
    structlog.get_logger("ours").info("said", text="secret")
    assert read()[0]["text"] == "***"


@pytest.mark.parametrize("name", ["openai", "mcp.client.streamable_http", "opentelemetry.sdk.trace", "httpx2", "redis"])
def test_what_libraries_say_of_bodies_is_not_logged(lines, name):
    read = lines()
    logging.getLogger(name).debug("body: what the user asked")
    logging.getLogger(name).info("body: what the user asked")
    assert read() == []


@pytest.mark.parametrize("name", ["mcp", "opentelemetry.exporter"])
def test_libraries_that_repeat_themselves_are_muted(lines, name):
    read = lines()
    logging.getLogger(name).error("again")
    assert read() == []


def test_user_is_shown_as_a_hash_that_differs_by_namespace():
    assert user_hash("team-a", "ada@example.com") == user_hash("team-a", "ada@example.com")
    assert user_hash("team-a", "ada@example.com") != user_hash("team-b", "ada@example.com")
    assert re.fullmatch("[0-9a-f]{12}", user_hash("team-a", "ada@example.com"))
