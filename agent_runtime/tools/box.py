"""All tools of an agent, behind its policy: what a run calls them through."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from agent_api.runtime_document import HEADERS_DIRECTORY
from agent_runtime.core.policy import Denied, NeedsApproval, ToolRules
from agent_runtime.tools.catalogue import Catalogue
from agent_runtime.tools.guarded import GuardedSource
from agent_runtime.tools.headers import SecretHeaders
from agent_runtime.tools.marking import cut, marked, neutral
from agent_runtime.tools.openapi_source import OpenApiSource
from agent_runtime.tools.source import SourceError, SourceTimeout, SourceUnavailable
from agent_runtime.tools.toolbox import UNKNOWN, ToolOutcome, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_api.runtime_document import ToolPolicyDocument, ToolSourceDocument
    from agent_runtime.core.loop import ToolCall, ToolSpec
    from agent_runtime.tools.catalogue import Entry
    from agent_runtime.tools.source import ToolSource
    from agent_runtime.tools.toolbox import ToolScope

    CallObserver = Callable[[str, ToolOutcome, float], None]
    """Hears of every call: name of the tool, or UNKNOWN; what became of it; seconds."""

    DriftObserver = Callable[[str], None]
    """Hears the name of a source whose tools are no longer those of its first listing."""

MAX_ARGUMENT_BYTES = 256 * 1024
_MAX_REASON_BYTES = 500
_RESTART_SECONDS = 1.0
_LISTED_POLL_SECONDS = 0.02
_log = structlog.get_logger("agent_runtime")


def _ignore_call(_name: str, _outcome: ToolOutcome, _seconds: float) -> None:
    return


def _ignore_drift(_source: str) -> None:
    return


class ToolboxOfSources:
    """The toolbox of an agent whose tools come from MCP servers and HTTP APIs."""

    def __init__(
        self,
        sources: Sequence[ToolSourceDocument],
        policy: ToolPolicyDocument,
        *,
        headers_directory: Path = Path(HEADERS_DIRECTORY),
        observer: CallObserver = _ignore_call,
        drifted: DriftObserver = _ignore_drift,
    ) -> None:
        """Prepare everything, reach nothing.

        Raises
        ------
        PolicyInvalid
            If a condition of the policy cannot be compiled.
        """
        self._rules = ToolRules(policy)
        self._policy = policy
        self._observer = observer
        self._headers = [
            SecretHeaders(headers_directory, position, [header.name for header in source.headers])
            for position, source in enumerate(sources)
        ]
        self._sources = [
            GuardedSource(_source(document, headers, drifted), policy.max_concurrent)
            for document, headers in zip(sources, self._headers, strict=True)
        ]
        self._catalogue = Catalogue(
            self._sources, {document.name: document.idempotent for document in sources}, self._rules.may_allow
        )
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self) -> None:
        """Own every source until cancelled or closed; one that dies is started again."""
        # The parser writes statements that it does not know into its log: arguments of tools have no place there.
        logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
        if self._closed:
            return
        self._running = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._sources:
                    group.create_task(self._keep_running(source))
                # An agent without tools has an owner of none, which ends no sooner.
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not self._closed:
                raise
        finally:
            self._running = None

    async def aclose(self) -> None:
        """End `run`; connections are closed when this returns."""
        self._closed = True
        running = self._running
        if running is not None and running is not asyncio.current_task():
            running.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])

    async def listed(self, seconds: float) -> bool:
        """Wait until every source has listed its tools, at most so long; False if one has not.

        A source that is away blocks nothing: its tools are told once it has come.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not all(source.listed for source in self._sources):  # noqa: ASYNC110 - they know of nobody who waits
                    await asyncio.sleep(_LISTED_POLL_SECONDS)
                return True
        return False

    def secrets(self) -> tuple[str, ...]:
        """Values of secret headers seen lately, for keeping them out of logs."""
        return tuple(secret for headers in self._headers for secret in headers.secrets())

    def specs(self) -> tuple[ToolSpec, ...]:
        """Tools that the policy may allow, in the order of their sources and names."""
        return self._catalogue.specs()

    def resolve(self, wire_name: str) -> ToolSpec | None:
        """The tool of a name that the model used; None if it was told of no such tool."""
        entry = self._catalogue.find(wire_name)
        return entry.spec if entry is not None else None

    def parsed_arguments(self, call: ToolCall) -> dict[str, Any] | None:
        """Arguments of a call; None if they are no JSON object. No text at all stands for none."""
        if len(call.arguments) > MAX_ARGUMENT_BYTES:
            return None
        try:
            arguments = orjson.loads(call.arguments or "{}")
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            return None
        return arguments if isinstance(arguments, dict) else None

    def unavailable(self) -> tuple[str, ...]:
        """Sources that are not connected, or rest after failures."""
        now = asyncio.get_running_loop().time()
        return tuple(source.name for source in self._sources if source.is_away(now))

    async def call(self, call: ToolCall, scope: ToolScope) -> ToolResult:
        """Run one call, or say why not; every failure is a result."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        entry = self._catalogue.find(call.name)
        name = entry.spec.name if entry is not None else UNKNOWN
        if entry is None:
            outcome, content = ToolOutcome.UNKNOWN_TOOL, "Not called: there is no tool of this name."
        else:
            outcome, content = await self._admitted(entry, call, scope)
        seconds = loop.time() - began
        self._observer(name, outcome, seconds)
        return ToolResult(call.id, name, outcome, content, seconds)

    async def _admitted(self, entry: Entry, call: ToolCall, scope: ToolScope) -> tuple[ToolOutcome, str]:
        arguments = self.parsed_arguments(call)
        wrong = "they are not a JSON object" if arguments is None else entry.wrong_arguments(arguments)
        if arguments is None or wrong is not None:
            return ToolOutcome.INVALID_ARGUMENTS, f"Not called: the arguments are not valid: {_short(wrong or '')}"
        decision = self._rules.decide(entry.spec.name, arguments, scope.calls, scope.calls_by_rule)
        if isinstance(decision, Denied):
            return ToolOutcome.DENIED, f"Not called: {decision.reason}."
        if isinstance(decision, NeedsApproval) and call.id not in scope.approved:
            return ToolOutcome.APPROVAL_REQUIRED, "Not called: a person has to allow this call first."
        scope.calls += 1
        scope.calls_by_rule[decision.rule] = scope.calls_by_rule.get(decision.rule, 0) + 1
        if scope.starting is not None:
            await scope.starting(call, decision.rule)
        return await self._run(entry, arguments, scope)

    async def _run(self, entry: Entry, arguments: dict[str, Any], scope: ToolScope) -> tuple[ToolOutcome, str]:
        remaining = scope.deadline - asyncio.get_running_loop().time()
        seconds = min(self._policy.timeout_seconds, remaining)
        if seconds <= 0:
            return ToolOutcome.TIMEOUT, "Not called: the time of the run is over."
        name = entry.spec.name
        try:
            text = await entry.source.call(entry.tool.name, arguments, scope.trace(), seconds)
        except SourceError as error:
            # What a server says about its failure is its output as well.
            shown = marked(name, str(error), self._policy.max_output_bytes)
            return _outcome_of(error), f"The call failed.\n{shown}"
        return ToolOutcome.OK, marked(name, text, self._policy.max_output_bytes)

    async def _keep_running(self, source: ToolSource) -> None:
        while True:
            try:
                await source.run()
            except Exception as error:  # noqa: BLE001 - a source must not take the others with it
                _log.error("source of tools died", source=source.name, cause=type(error).__name__)
            await asyncio.sleep(_RESTART_SECONDS)


def _source(document: ToolSourceDocument, headers: SecretHeaders, drifted: DriftObserver) -> ToolSource:
    if document.mcp_url is not None:
        from agent_runtime.tools.mcp_source import McpSource  # noqa: PLC0415 - half a second, only for who needs it

        return McpSource(document.name, document.mcp_url, headers, drifted)
    return OpenApiSource(document, headers)


def _outcome_of(error: SourceError) -> ToolOutcome:
    if isinstance(error, SourceTimeout):
        return ToolOutcome.TIMEOUT
    return ToolOutcome.UNAVAILABLE if isinstance(error, SourceUnavailable) else ToolOutcome.FAILED


def _short(text: str) -> str:
    return neutral(cut(" ".join(text.split()), _MAX_REASON_BYTES)[0])
