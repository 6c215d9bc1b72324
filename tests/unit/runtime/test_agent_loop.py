"""The loop around a scripted model and a scripted toolbox."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from agent_runtime.agent import (
    LOST_NOTICE,
    REJECTED_NOTICE,
    Agent,
    ApprovalNeeded,
    IterationsExhausted,
    LoopDetected,
    Order,
    OutputInvalid,
)
from agent_runtime.core.events import ApprovalRequired, TextDelta, ToolCalled, ToolEnded
from agent_runtime.core.loop import Message, ToolCall, ToolSpec
from agent_runtime.core.progress import NoJournal, Progress
from agent_runtime.core.task_state import Step, progress_document, progress_of
from agent_runtime.llm.client import DeadlineExceeded, ModelAnswer, Run, Usage
from agent_runtime.outputs import output_format
from agent_runtime.telemetry.tracing import Identity, open_tracing
from agent_runtime.tools.toolbox import ToolOutcome, ToolResult

LOOK = ToolSpec("kb.look", "kb__look", "Looks.", {"type": "object"})
PAY = ToolSpec("bank.pay", "bank__pay", "Pays.", {"type": "object"})


def ask(*calls):
    """An answer of the model that asks for tools."""
    return ModelAnswer(
        "", "m", "tool_calls", Usage(10, 5), tuple(ToolCall(f"x{n}", name, a) for n, (name, a) in enumerate(calls))
    )


def say(text):
    return ModelAnswer(text, "m", "stop", Usage(10, 5), cost_micro=7)


@dataclass
class Model:
    script: list[ModelAnswer]
    asked: list = field(default_factory=list)

    async def complete(self, request):
        self.asked.append(request)
        answer = self.script[min(len(self.asked), len(self.script)) - 1]
        if request.emit is not None and answer.text:
            for letter in answer.text:
                await request.emit(letter)
        return answer


RULE = 0
"""The rule of the policy that grants every call here."""


@dataclass
class Tools:
    outcomes: dict[str, ToolOutcome] = field(default_factory=dict)
    ran: list[tuple[str, str]] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)

    def specs(self):
        return (LOOK, PAY)

    def resolve(self, wire_name):
        return next((spec for spec in self.specs() if spec.wire_name == wire_name), None)

    def parsed_arguments(self, call):
        return json.loads(call.arguments)

    def unavailable(self):
        return ()

    async def call(self, call, scope):
        outcome = self.outcomes.get(call.name, ToolOutcome.OK)
        name = self.resolve(call.name).name
        if outcome is ToolOutcome.APPROVAL_REQUIRED and call.id not in scope.approved:
            return ToolResult(call.id, name, outcome, "")
        if outcome is not ToolOutcome.INVALID_ARGUMENTS:
            await scope.starting(call, 0)
            scope.calls += 1
            scope.calls_by_rule[RULE] = scope.calls_by_rule.get(RULE, 0) + 1
            self.seen = dict(scope.calls_by_rule)
            self.ran.append((call.name, call.arguments))
        outcome = ToolOutcome.OK if outcome is ToolOutcome.APPROVAL_REQUIRED else outcome
        return ToolResult(call.id, name, outcome, f"{name} {outcome}", 0.002)


@dataclass
class Notes:
    """A journal and a sink that remember."""

    steps: list = field(default_factory=list)
    events: list = field(default_factory=list)

    async def answered(self, progress):
        self.steps.append(("answered", progress))

    async def tool_started(self, call, rule):
        self.steps.append(("started", call.id))

    async def tool_ended(self, call, content):
        self.steps.append(("ended", call.id))

    async def emit(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def notes():
    return Notes()


def start(*messages):
    return Progress(messages or (Message("user", "hi"),))


@pytest.fixture
def go(notes):
    async def run(model, tools=None, progress=None, *, seconds=30.0, **order):
        tracing = open_tracing(Identity("support", "team-a", "support-1", "pod-1"), {})
        agent = Agent(model, tools or Tools(), tracing, lambda text: text.replace("hunter2", "[gone]"))
        run = Run("request-1", asyncio.get_running_loop().time() + seconds)
        wanted = Order(run, **{"max_iterations": 10, **order})
        return await agent.run(wanted, progress or start(), notes, notes.emit)

    return run


async def test_answer_without_tools_takes_one_model_call(go):
    model = Model([say("hello")])
    answer = await go(model)
    assert (answer.text, answer.iterations, answer.uses) == ("hello", 1, ())
    assert [tool.name for tool in model.asked[0].tools] == ["kb.look", "bank.pay"]


async def test_results_go_back_to_the_model_in_the_order_of_its_calls(go):
    model = Model([ask(("kb__look", "{}"), ("bank__pay", "{}")), say("done")])
    await go(model)
    *_, asked, first, second = model.asked[1].messages
    assert [call.name for call in asked.tool_calls] == ["kb__look", "bank__pay"]
    assert [(m.role, m.tool_call_id, m.content) for m in (first, second)] == [
        ("tool", asked.tool_calls[0].id, "kb.look ok"),
        ("tool", asked.tool_calls[1].id, "bank.pay ok"),
    ]


async def test_answer_tells_of_its_tool_calls(go):
    answer = await go(Model([ask(("kb__look", "{}")), say("done")]))
    assert [(use.name, use.outcome, use.milliseconds) for use in answer.uses] == [("kb.look", "ok", 2)]


async def test_ids_of_calls_are_unique_in_a_run_though_the_provider_repeats_them(go):
    model = Model([ask(("kb__look", "{}")), ask(("kb__look", "{}")), say("done")])
    answer = await go(model)
    ids = [call.id for message in answer.messages for call in message.tool_calls]
    assert len(set(ids)) == len(ids) == 2
    assert all(len(identity) == 9 and identity.isalnum() for identity in ids)


async def test_secrets_in_arguments_do_not_reach_tools_nor_people(go, notes):
    tools = Tools()
    await go(Model([ask(("kb__look", '{"q": "hunter2"}')), say("done")]), tools)
    assert tools.ran == [("kb__look", '{"q": "[gone]"}')]
    assert notes.of(ToolCalled)[0].arguments == {"q": "[gone]"}


async def test_run_ends_with_its_last_iteration(go):
    model = Model([ask(("kb__look", "{}"))])
    with pytest.raises(IterationsExhausted):
        await go(model, max_iterations=3)
    assert len(model.asked) == 3


async def test_same_failing_call_ends_the_run(go):
    tools = Tools({"kb__look": ToolOutcome.FAILED})
    with pytest.raises(LoopDetected):
        await go(Model([ask(("kb__look", "{}"))]), tools)
    assert len(tools.ran) == 3


async def test_invalid_arguments_are_told_to_the_model_twice(go):
    model = Model([ask(("kb__look", "{")), ask(("kb__look", "{{")), ask(("kb__look", "{{{"))])
    with pytest.raises(LoopDetected, match="invalid arguments"):
        await go(model, Tools({"kb__look": ToolOutcome.INVALID_ARGUMENTS}))
    assert len(model.asked) == 3


async def test_run_stops_at_its_deadline_in_the_middle_of_a_call(go):
    class Hanging:
        async def complete(self, request):
            await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        await go(Hanging(), seconds=0.05)


async def test_deltas_are_passed_on_only_to_who_wants_a_stream(go, notes):
    await go(Model([say("ab")]))
    assert notes.of(TextDelta) == []
    await go(Model([say("ab")]), stream=True)
    assert [event.text for event in notes.of(TextDelta)] == ["a", "b"]


async def test_usage_of_all_model_calls_is_summed_up(go, notes):
    model = Model([ask(("kb__look", "{}")), say("done")])
    await go(model)
    run = model.asked[0].run
    assert (run.input_tokens, run.output_tokens) == (20, 10)


# Approval and takeover


async def test_call_that_needs_approval_waits_while_the_others_run(go, notes):
    tools = Tools({"bank__pay": ToolOutcome.APPROVAL_REQUIRED})
    with pytest.raises(ApprovalNeeded) as waiting:
        await go(Model([ask(("bank__pay", '{"to": "x"}'), ("kb__look", "{}"))]), tools)
    assert [call.name for call in waiting.value.calls] == ["bank__pay"]
    assert tools.ran == [("kb__look", "{}")]
    assert list(waiting.value.progress.results.values()) == ["kb.look ok"]
    assert [(event.name, event.arguments) for event in notes.of(ApprovalRequired)] == [("bank.pay", {"to": "x"})]


async def _waiting(go, tools):
    with pytest.raises(ApprovalNeeded) as waiting:
        await go(Model([ask(("bank__pay", "{}"), ("kb__look", "{}"))]), tools)
    return waiting.value


async def test_approved_call_runs_and_finished_ones_do_not_run_again(go):
    tools = Tools({"bank__pay": ToolOutcome.APPROVAL_REQUIRED})
    stopped = await _waiting(go, tools)
    model = Model([say("paid")])
    answer = await go(model, tools, stopped.progress, approved=frozenset({stopped.calls[0].id}))
    assert answer.text == "paid"
    assert tools.ran == [("kb__look", "{}"), ("bank__pay", "{}")]


async def test_calls_before_a_wait_are_counted_once_by_whoever_goes_on(go):
    tools = Tools({"bank__pay": ToolOutcome.APPROVAL_REQUIRED})
    stopped = await _waiting(go, tools)
    looked = stopped.progress.messages[-1].tool_calls[1].id
    noted = Step(started={looked: 0}, results={looked: "kb.look ok"})
    progress = progress_of(json.loads(json.dumps(progress_document(stopped.progress))), noted)
    assert (progress.tool_calls, progress.calls_by_rule) == (1, {RULE: 1})
    await go(Model([say("paid")]), tools, progress, approved=frozenset({stopped.calls[0].id}))
    assert tools.seen == {RULE: 2}


async def test_rejected_call_is_told_to_the_model_and_not_run(go):
    tools = Tools({"bank__pay": ToolOutcome.APPROVAL_REQUIRED})
    stopped = await _waiting(go, tools)
    model = Model([say("ok")])
    await go(model, tools, stopped.progress, rejected=frozenset({stopped.calls[0].id}))
    assert REJECTED_NOTICE in [message.content for message in model.asked[0].messages]
    assert tools.ran == [("kb__look", "{}")]


async def test_call_whose_outcome_was_lost_is_not_run_again(go):
    call = ToolCall("c00100000", "bank__pay", "{}")
    progress = Progress((Message("user", "hi"), Message("assistant", "", (call,))), 1, frozenset({call.id}))
    tools, model = Tools(), Model([say("hm")])
    await go(model, tools, progress, unknown=frozenset({call.id}))
    assert tools.ran == []
    assert model.asked[0].messages[-1].content == LOST_NOTICE


async def test_journal_knows_of_calls_before_they_begin(go, notes):
    await go(Model([ask(("kb__look", "{}")), say("done")]))
    assert [step[0] for step in notes.steps] == ["answered", "started", "ended"]


async def test_tool_events_follow_each_other(go, notes):
    await go(Model([ask(("kb__look", "{}")), say("done")]))
    kinds = [type(event) for event in notes.events if isinstance(event, ToolCalled | ToolEnded)]
    assert kinds == [ToolCalled, ToolEnded]


# Tools of the caller


async def test_calls_of_the_callers_tools_are_the_answer(go):
    own = ToolSpec("mine", "mine", "", {"type": "object"})
    tools = Tools()
    answer = await go(Model([ask(("mine", '{"a": 1}'), ("kb__look", "{}"))]), tools, client_tools=(own,))
    assert [(call.name, call.arguments) for call in answer.client_calls] == [("mine", '{"a": 1}')]
    assert (answer.finish_reason, tools.ran) == ("tool_calls", [])


# Format of the answer

SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["n"]}}}


async def test_answer_of_the_requested_format_is_taken(go):
    model = Model([say('{"n": 1}')])
    answer = await go(model, output=output_format(SCHEMA))
    assert answer.text == '{"n": 1}'
    assert model.asked[0].response_format == SCHEMA


async def test_answer_of_another_format_is_asked_for_again(go):
    model = Model([say("n is 1"), say("{}"), say('{"n": 1}')])
    answer = await go(model, output=output_format(SCHEMA))
    assert (answer.text, len(model.asked)) == ('{"n": 1}', 3)
    assert "not of the requested format" in model.asked[1].messages[-1].content


async def test_answer_that_stays_wrong_ends_the_run(go):
    model = Model([say("n is 1")])
    with pytest.raises(OutputInvalid):
        await go(model, output=output_format(SCHEMA))
    assert len(model.asked) == 3


async def test_nothing_is_kept_of_a_run_that_nobody_takes_over():
    journal = NoJournal()
    await journal.answered(start())
    await journal.tool_started(ToolCall("a", "b", "c"), 0)
    await journal.tool_ended(ToolCall("a", "b", "c"), "d")
