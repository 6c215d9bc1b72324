"""`agentctl task` against an agent that a test scripts: what is sent, what is printed, how streams are continued."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.unit.cli.conftest import NOW

TASK = "-h_n0123456789abcdefghij"
"""Ids may begin with a dash and hold letters that are options elsewhere."""

TOKEN = "token-of-ann"


def document(**changes: Any) -> dict[str, Any]:
    task = {
        "task_id": TASK,
        "status": "Running",
        "revision": "support-5c9f0a1b2d",
        "ended": None,
        "attempt": 1,
        "iterations": 2,
        "tool_calls": 1,
        "waiting_for": [],
        "decisions": [],
        "result": None,
        "problem": None,
    }
    return task | changes


def waiting(*calls: str) -> dict[str, Any]:
    waits = [{"id": call, "name": "shop.refund", "arguments": {"id": "17"}} for call in calls]
    return document(status="WaitingForApproval", waiting_for=waits)


def stream(*events: Any, start: int = 1) -> bytes:
    numbered = enumerate(events, start)
    return b": keep-alive\n\n" + b"".join(
        b"id: %d\nevent: x\ndata: %s\n\n" % (number, json.dumps(event).encode()) for number, event in numbered
    )


DELTA = {"type": "delta", "text": "Hel\x1b[2Jlo"}
DONE = {"type": "completed", "result": {"answer": "Hello"}}
CALLED = {"type": "tool.call", "id": "c1", "name": "shop.look", "arguments": {"id": 1}}


@dataclass
class Agent:
    """Answers in order, the last again and again; remembers what it was asked."""

    url: str = ""
    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    redirect: str = ""

    def says(self, *answers: Any) -> None:
        self.answers = [answer if isinstance(answer, tuple) else (200, answer) for answer in answers]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append((handler.command, handler.path, headers, json.loads(body) if body else None))
        status, found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        handler.send_response(status)
        if status == 307:
            handler.send_header("location", self.redirect)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


@pytest.fixture
def agent(monkeypatch) -> Iterator[Agent]:
    scripted = Agent()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scripted.answer(self)

        def do_POST(self) -> None:
            scripted.answer(self)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        scripted.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AGENTCTL_URL", scripted.url)
        monkeypatch.delenv("AGENTCTL_TOKEN", raising=False)
        yield scripted
        server.shutdown()


def test_start_sends_the_question_and_prints_the_id(agentctl, agent):
    agent.says((202, {"task_id": TASK}))
    outcome = agentctl("task", "start", "Refund order 17", "--conversation", "c.0.x", "--user", "ann")
    assert (outcome.code, outcome.out) == (0, f"{TASK}\n")
    method, path, headers, body = agent.asked[0]
    assert (method, path, body) == ("POST", "/agent/tasks", {"query": "Refund order 17", "conversation_id": "c.0.x"})
    assert headers["x-user-id"] == "ann"
    assert "authorization" not in headers


def test_the_credential_comes_from_the_environment_and_is_never_shown(agentctl, agent, monkeypatch):
    monkeypatch.setenv("AGENTCTL_TOKEN", TOKEN)
    agent.says((403, {"detail": "no"}))
    outcome = agentctl("task", "get", TASK)
    assert agent.asked[0][2]["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in outcome.out + outcome.err


def test_a_redirect_is_not_followed_with_the_credential(agentctl, agent, monkeypatch):
    monkeypatch.setenv("AGENTCTL_TOKEN", TOKEN)
    agent.redirect = f"{agent.url}/elsewhere"
    agent.says((307, b""))
    assert agentctl("task", "get", TASK).code == 1
    assert len(agent.asked) == 1


def test_a_task_that_waits_is_shown_with_what_to_type(agentctl, agent):
    agent.says(waiting("call_1"))
    outcome = agentctl("task", "get", TASK, "--user", "ann b")
    assert outcome.out == (
        f"{TASK}   WaitingForApproval\n"
        "  support-5c9f0a1b2d: answers of the model 2, calls of tools 1, attempt 1\n\n"
        "Waits for a person\n"
        '  call_1   shop.refund   {"id": "17"}\n\n'
        "What to type next\n"
        f"  agentctl task approve {TASK} call_1 --url {agent.url} --user 'ann b'\n"
        f"  agentctl task reject {TASK} call_1 --url {agent.url} --user 'ann b'\n"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"result": {"answer": "It is\nsunny\x1b[2J."}}, "\nAnswer\nIt is\nsunny [2J.\n"),
        (
            {"problem": {"title": "Expired", "detail": "It took\ntoo long."}},
            "\nProblem\n  Expired: It took too long.\n",
        ),
        (
            {"decisions": [{"call": "c1", "approved": False, "who": "bob", "reason": "too dear"}]},
            "\nDecisions\n  c1   rejected   by bob   too dear\n",
        ),
    ],
)
def test_what_became_of_a_task_is_shown(agentctl, agent, changes, said):
    agent.says(document(**changes))
    assert said in agentctl("task", "get", TASK).out


def test_json_is_the_document(agentctl, agent):
    agent.says(document(result={"answer": "[bold]"}))
    assert json.loads(agentctl("task", "get", TASK, "--json").out) == document(result={"answer": "[bold]"})


@pytest.mark.parametrize(("verb", "said"), [("approve", "approved"), ("reject", "rejected")])
def test_the_only_call_that_waits_need_not_be_named(agentctl, agent, verb, said):
    agent.says(waiting("call/1"), document())
    outcome = agentctl("task", verb, TASK, "--reason", "why")
    assert (outcome.code, outcome.out) == (0, f"task {TASK}: call/1 {said}, it goes on\n")
    method, path, _headers, body = agent.asked[1]
    assert (method, path) == ("POST", f"/agent/tasks/{TASK}/approvals/call%2F1")
    assert body == {"decision": verb, "reason": "why"}


def test_of_several_calls_one_must_be_named(agentctl, agent):
    agent.says(waiting("c1", "c2"), waiting("c2"))
    refused = agentctl("task", "approve", TASK)
    assert (refused.code, len(agent.asked)) == (1, 1)
    assert "2 calls wait: c1, c2; name one" in refused.err
    assert agentctl("task", "approve", TASK, "c1").out == f"task {TASK}: c1 approved, 1 more to decide\n"


def test_cancel_says_whether_it_has_ended(agentctl, agent):
    agent.says(document(cancel_requested=True), document(status="Cancelled", ended=1.0))
    assert agentctl("task", "cancel", TASK).out == f"task {TASK}: asked to end\n"
    assert agentctl("task", "cancel", TASK).out == f"task {TASK}: Cancelled\n"
    assert agent.asked[0][:2] == ("POST", f"/agent/tasks/{TASK}/cancel")


def test_watch_shows_what_happens_and_the_answer_as_it_comes(agentctl, agent):
    agent.says(stream({"type": "usage"}, CALLED, DELTA, DELTA, DONE))
    outcome = agentctl("task", "watch", TASK)
    assert outcome.code == 0
    assert outcome.out == 'calls shop.look {"id": 1}\nHel [2JloHel [2Jlo\ncompleted\n'


def test_an_answer_that_was_not_streamed_is_shown_at_the_end(agentctl, agent):
    agent.says(stream(DONE))
    assert agentctl("task", "watch", TASK).out == "completed\nHello\n"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"type": "error", "problem": {"title": "Tool loop", "detail": "Again."}}, "failed: Tool loop: Again."),
        ({"type": "cancelled"}, "cancelled"),
    ],
)
def test_a_task_without_an_answer_ends_with_1(agentctl, agent, end, said):
    agent.says(stream(DELTA, end))
    outcome = agentctl("task", "watch", TASK)
    assert (outcome.code, outcome.out, outcome.err) == (1, "Hel [2Jlo\n", f"error: task {TASK}: {said}\n")


def test_a_stream_that_breaks_is_continued_after_the_last_event(agentctl, agent, clock):
    busy = (503, {"detail": "The store did not answer; try again."})
    agent.says(stream(CALLED), busy, busy, stream(DONE, start=2))
    outcome = agentctl("task", "watch", TASK)
    assert (outcome.code, outcome.out) == (0, 'calls shop.look {"id": 1}\ncompleted\nHello\n')
    assert [headers.get("last-event-id") for _, _, headers, _ in agent.asked] == [None, "1", "1", "1"]
    assert clock.passed == 3


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"result": {"answer": "Hi"}}, 0),
        ({"problem": {"title": "Expired", "detail": "x"}}, 1),
        ({}, 1),
    ],
)
def test_a_task_whose_events_are_gone_ends_by_its_document(agentctl, agent, end, code):
    agent.says(b"", document(ended=1.0, **end))
    assert agentctl("task", "watch", TASK).code == code


def test_watch_gives_up_when_the_agent_stays_away(agentctl, agent, clock):
    agent.says((503, {"detail": "The store did not answer."}))
    outcome = agentctl("task", "watch", TASK)
    assert (outcome.code, outcome.err) == (1, "error: The store did not answer.\n")
    assert 20 <= clock.passed <= 40


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b"<html>not found</html>"), "answered 404 and no reason; is it the URL of an agent?"),
        ((500, [1]), "answered 500 and no reason"),
        ((200, b"<html>"), "does not answer as an agent; is it the URL of one?"),
        ((200, [1]), "does not answer as an agent"),
        ((409, {"detail": "line\n\x1b[2Jtwo " + "x" * 9000}), "line [2Jtwo xxx"),
    ],
)
def test_a_refusal_is_one_short_line(agentctl, agent, answer, said):
    agent.says(answer)
    outcome = agentctl("task", "get", TASK)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert said in outcome.err
    assert len(outcome.err) < 600


@pytest.mark.parametrize("verb", ["get", "watch", "cancel", "approve"])
def test_a_task_that_is_not_there_is_told_with_its_id_and_where_it_was_sought(agentctl, agent, verb):
    agent.says((404, {"detail": "There is no such task."}))
    assert agentctl("task", verb, TASK).err == f"error: task {TASK} at {agent.url}: There is no such task.\n"


def test_an_id_that_is_no_text_is_told_as_every_other(agentctl, agent):
    agent.says((404, {"detail": "There is no such task."}))
    assert agentctl("task", "get", "a/\udcff\n").err == f"error: task a/? at {agent.url}: There is no such task.\n"


@pytest.mark.parametrize("arguments", [("start", "Hello"), ("get", TASK)], ids=lambda words: words[0])
def test_a_missing_credential_is_told_with_the_variable_that_holds_it(agentctl, agent, arguments):
    agent.says((401, {"detail": "Credentials are required: send an API key as x-api-key."}))
    assert agentctl("task", *arguments).err == (
        "error: Credentials are required: send an API key as x-api-key. Set AGENTCTL_TOKEN to the API key or token.\n"
    )


def test_a_credential_that_is_not_known_is_told_with_where_it_came_from(agentctl, agent, monkeypatch):
    monkeypatch.setenv("AGENTCTL_TOKEN", TOKEN)
    agent.says((401, {"detail": "The API key is not known."}))
    assert agentctl("task", "get", TASK).err == (
        "error: The API key is not known. It was taken from AGENTCTL_TOKEN: set that to an API key or token of this"
        " agent.\n"
    )


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("a\nb", "'a\\nb'"),
        (" ann", "' ann'"),
        ("", "''"),
        ("\udcff", "'\\udcff'"),
        ("a" * 257, f"'{'a' * 80}...'"),
    ],
    ids=ascii,
)
def test_a_user_that_cannot_be_sent_is_refused_before_anything_is(agentctl, agent, user, shown):
    outcome = agentctl("task", "start", "Hello", "--user", user)
    assert (outcome.code, agent.asked) == (1, [])
    assert outcome.err == (
        f"error: --user {shown}: a user's name has 1 to 256 printable characters, no spaces around them;"
        " leave it out to be anonymous\n"
    )


@pytest.mark.parametrize("user", ["Zo\xeb B", "\u674e"], ids=ascii)
def test_a_user_of_any_letters_is_sent_in_utf_8(agentctl, agent, user):
    agent.says(document())
    assert agentctl("task", "get", TASK, "--user", user).code == 0
    # Servers read headers as Latin-1.
    assert agent.asked[0][2]["x-user-id"].encode("latin-1").decode() == user


def test_tasks_that_have_not_ended_are_listed_with_what_they_wait_for(agentctl, agent):
    created = {"created": NOW.timestamp() - 720, "expires": NOW.timestamp() + 3600}
    agent.says({"tasks": [waiting("c1", "c2") | created, document(task_id="second-task-of-ann-12345") | created]})
    outcome = agentctl("task", "list", "--user", "ann")
    assert agent.asked[0][:2] == ("GET", "/agent/tasks?limit=100")
    head, first, second = outcome.out.splitlines()
    assert head.split() == ["TASK", "STATE", "AGE", "WAITS", "FOR"]
    assert first.split() == [TASK, "WaitingForApproval", "12m", "shop.refund,", "shop.refund"]
    assert second.split()[:3] == ["second-task-of-ann-12345", "Running", "12m"]


def test_list_asks_for_one_state_and_gives_the_documents(agentctl, agent):
    agent.says({"tasks": [waiting("c1")]})
    outcome = agentctl("task", "list", "--status", "WaitingForApproval", "--json")
    assert agent.asked[0][1] == "/agent/tasks?limit=100&status=WaitingForApproval"
    assert json.loads(outcome.out) == [waiting("c1")]


def test_list_of_nothing_says_so(agentctl, agent):
    agent.says({"tasks": []})
    assert "no tasks" in agentctl("task", "list").out


def test_list_of_something_else_is_no_agents(agentctl, agent):
    agent.says({"items": []})
    outcome = agentctl("task", "list")
    assert (outcome.code, "does not answer as an agent" in outcome.err) == (1, True)


@pytest.mark.parametrize("token", [f"{TOKEN}\nx", f" {TOKEN}", f"{TOKEN}\xe9", f"{TOKEN}\u674e"], ids=ascii)
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(agentctl, agent, monkeypatch, token):
    monkeypatch.setenv("AGENTCTL_TOKEN", token)
    outcome = agentctl("task", "get", TASK)
    assert (outcome.code, agent.asked) == (1, [])
    assert outcome.err == ("error: AGENTCTL_TOKEN: set it to one line of printable ASCII, with no spaces around it\n")


def test_watch_says_what_to_type_about_a_call_that_waits(agentctl, agent):
    waits = {"type": "approval.required", "id": "call 1", "name": "shop.refund", "arguments": {"id": "17"}}
    agent.says((202, {"task_id": TASK}), stream(waits, DONE))
    outcome = agentctl("task", "start", "Refund order 17", "--user", "ann b", "--watch")
    assert outcome.out == (
        f"{TASK}\n"
        'waits for a decision about call 1: shop.refund {"id": "17"}\n'
        f"  agentctl task approve {TASK} 'call 1' --url {agent.url} --user 'ann b'\n"
        f"  agentctl task reject {TASK} 'call 1' --url {agent.url} --user 'ann b'\n"
        "completed\nHello\n"
    )


def test_an_event_that_cannot_be_read_is_told(agentctl, agent):
    agent.says(b"id: 1\ndata: {\n\n")
    assert "the stream of events cannot be read" in agentctl("task", "watch", TASK).err


def test_an_agent_that_is_not_there_is_told(agentctl):
    outcome = agentctl("task", "get", TASK, "--url", "http://127.0.0.1:9")
    assert (outcome.code, outcome.err) == (
        1,
        "error: http://127.0.0.1:9 does not answer: Connection refused; does the agent run?\n",
    )


@pytest.mark.parametrize("url", ["file:///etc/passwd", "support", "http://", "ftp://a", "http://[x"])
def test_what_is_no_url_is_refused(agentctl, url):
    outcome = agentctl("task", "get", TASK, "--url", url)
    assert outcome.code == 1
    assert "must be the URL of an agent, such as http://127.0.0.1:8080" in outcome.err


def test_a_password_in_the_url_is_refused_and_not_shown(agentctl):
    outcome = agentctl("task", "get", TASK, "--url", f"http://ann:{TOKEN}@127.0.0.1:9")
    assert (outcome.code, outcome.err) == (
        1,
        "error: --url: must hold no user or password; set AGENTCTL_TOKEN to the API key or token\n",
    )
