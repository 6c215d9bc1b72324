"""Builders of the runtime's unit tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agent_api.runtime_document import RetryDocument
from agent_runtime.core.faults import Fault
from agent_runtime.core.loop import Message
from agent_runtime.llm.client import EndpointFailed, ModelAnswer, ModelError, ModelRequest, Run
from tests.support.forgone_answers import begin

__all__ = ["begin"]


@dataclass
class ScriptedClient:
    """Model client that fails or answers as told, one item of the script for each call; the last one stays."""

    script: list[Fault | ModelError | str]
    model: str = "scripted"
    calls: int = field(default=0, init=False)
    asked: list[ModelRequest] = field(default_factory=list, init=False)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        item = self.script[min(self.calls, len(self.script) - 1)]
        self.calls += 1
        self.asked.append(request)
        if isinstance(item, Fault):
            raise EndpointFailed(self.model, item)
        if isinstance(item, ModelError):
            raise item
        return ModelAnswer(item, self.model, "stop", None)


@pytest.fixture
def scripted():
    return ScriptedClient


@pytest.fixture
def policy():
    return RetryDocument(max_attempts=3, base_delay_seconds=0.001, max_delay_seconds=0.002)


@pytest.fixture
def request_within():
    def build(deadline: float, **run) -> ModelRequest:
        return ModelRequest((Message("user", "hi"),), Run("request-1", deadline, **run))

    return build
