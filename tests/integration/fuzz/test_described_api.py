"""schemathesis against the OpenAPI page of a real process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 100
EXPECTED_PATHS = {
    "/agent/run",
    "/v1/chat/completions",
    "/v1/models",
    "/v1/models/{model_id}",
    "/agent/tasks",
    "/agent/tasks/{task_id}",
    "/agent/tasks/{task_id}/events",
    "/agent/tasks/{task_id}/cancel",
    "/agent/tasks/{task_id}/approvals/{call_id}",
    "/agent/conversations",
    "/agent/conversations/{conversation_id}",
}


async def test_page_describes_every_route_and_every_answer_is_as_it_says(fuzzed, tmp_path):
    page = await fuzzed.document("/openapi.json")
    assert set(page["paths"]) >= EXPECTED_PATHS
    argv = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{fuzzed.url}/openapi.json"),
        # A valid question may be refused all the same: by a guard, or because a header is missing that only some need.
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
        *("--max-examples", "25", "--workers", "1", "--seed", "4", "--no-color", "--request-timeout", "20"),
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "problem_checks"}
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    told = output.decode()
    assert process.returncode == 0, told
    assert "Unresolvable" not in told, told
    assert "exception" not in fuzzed.process.output()
    assert not [line for line in fuzzed.process.lines("run") if line["reason"] == "internal"]
