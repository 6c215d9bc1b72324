"""Log lines."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from agent_runtime.telemetry.logs import configure_logging

SECRET = 'sk-"quoted\\secret'


@pytest.fixture
def restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
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
