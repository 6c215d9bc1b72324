"""Ten thousand ways in which a body can be wrong, the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

JSON_TYPE = "application/json"
RUN = "/agent/run"
CHAT = "/v1/chat/completions"
TASKS = "/agent/tasks"
APPROVAL = "/agent/tasks/{task}/approvals/{call}"

BODIES: dict[str, dict[str, Any]] = {
    RUN: {
        "query": "hi",
        "user_id": "ann",
        "conversation_id": "support-5c9f0a1b2d.0.abcdefgh",
        "max_iterations": 3,
        "stream": False,
        "response_format": {"type": "json_object"},
    },
    CHAT: {
        "messages": [{"role": "user", "content": "hi"}],
        "model": "support",
        "user": "ann",
        "stream": False,
        "n": 1,
        "stream_options": {"include_usage": True},
        "response_format": {"type": "text"},
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    },
    TASKS: {"query": "hi", "user_id": "ann", "max_iterations": 3, "response_format": {"type": "text"}},
    APPROVAL: {"decision": "approve", "reason": "why not"},
}
REQUIRED = {RUN: ("query",), CHAT: ("messages",), TASKS: ("query",), APPROVAL: ("decision",)}
TEXTS = ("query", "user_id", "conversation_id", "model", "user", "decision", "reason")
STRANGE_TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\u202eevil",
    "\ufeff",
    "\U0001f9e8" * 50,
    "e\u0301" * 200,
    "\u200b" * 100,
    "x" * 5000,
    "' OR 1=1 --",
    "../../etc/passwd",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "\r\nx-evil: 1",
    "forbidden",
)
HUGE = (
    b"1e400",
    b"-1e400",
    b"1" * 400,
    b"-" + b"9" * 5000,
    b"0." + b"0" * 500 + b"1",
    b"NaN",
    b"Infinity",
    b"1E+99999",
)
MAX_DIGITS = 4000
BAD_UNICODE = (
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf5\x80\x80\x80",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\\u0000",
    b"\\u12",
    b"\\x41",
)


@dataclass(frozen=True)
class Shot:
    """One request; `field` is the one that an answer must name, `valid` whether it may well be answered."""

    path: str
    content: bytes
    content_type: str | None = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)
    field: str | None = None


def shots(seed: int, count: int) -> list[Shot]:
    """So many requests, of all kinds."""
    chance = random.Random(seed)
    return [chance.choice(_KINDS)(chance) for _ in range(count)]


def _path(chance: random.Random) -> str:
    return chance.choice(list(BODIES))


def _dumped(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _any_json(chance: random.Random, depth: int = 3) -> Any:
    leaves: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: chance.choice((True, False)),
        lambda: chance.randint(-(2**70), 2**70),
        lambda: chance.choice((0, -0.0, 1.5, 1e308, 2**63, 2**64, -(2**63) - 1)),
        lambda: chance.choice(STRANGE_TEXTS),
    )
    if depth == 0 or chance.random() < 0.5:
        return chance.choice(leaves)()
    inner = [_any_json(chance, depth - 1) for _ in range(chance.randint(0, 4))]
    return (
        inner
        if chance.random() < 0.5
        else {f"{chance.choice(('a', 'type', '$ref', ''))}{n}": v for n, v in enumerate(inner)}
    )


def _wrong_type(chance: random.Random) -> Shot:
    """A known field with a value of a type that it never has: its name must be told."""
    path = _path(chance)
    body = dict(BODIES[path])
    name = chance.choice(list(body))
    values: list[Any] = [[[]], 7.5, [None], -1]
    values += [[], {"a": 1}] if name in TEXTS else ["text", "1"]
    body[name] = chance.choice(values)
    return Shot(path, _dumped(body), field=name)


def _missing(chance: random.Random) -> Shot:
    path = _path(chance)
    name = chance.choice(REQUIRED[path])
    return Shot(path, _dumped({key: value for key, value in BODIES[path].items() if key != name}), field=name)


def _unknown_field(chance: random.Random) -> Shot:
    path = chance.choice((RUN, TASKS, APPROVAL))
    name = chance.choice(("temperature", "__proto__", "query ", "Query", "user-id"))
    return Shot(path, _dumped({**BODIES[path], name: _any_json(chance)}), field=name)


def _any_value(chance: random.Random) -> Shot:
    """A field with any value, perhaps a good one."""
    path = _path(chance)
    body = dict(BODIES[path])
    body[chance.choice(list(body))] = _any_json(chance)
    return Shot(path, _dumped(body))


def _any_schema(chance: random.Random) -> Shot:
    """A format to be checked that a caller made up."""
    schema = chance.choice(
        (
            _any_json(chance),
            {"$schema": "http://127.0.0.1:9/meta"},
            {"$ref": "http://127.0.0.1:9/x"},
            {"properties": {"$ref": {"$ref": "http://127.0.0.1:9/x"}}},
            {"$ref": "#/nowhere"},
            {"type": "nothing"},
            {"pattern": "(a+"},
            {"minimum": "x"},
            {"$id": 7},
            {"$dynamicRef": "#x"},
        )
    )
    wanted = chance.choice(
        ({"type": "json_schema", "json_schema": {"schema": schema}}, {"type": schema}, {"json_schema": schema})
    )
    path = chance.choice((RUN, CHAT, TASKS))
    return Shot(path, _dumped({**BODIES[path], "response_format": wanted}))


def _flipped(chance: random.Random) -> Shot:
    """Bytes changed, cut, doubled."""
    path = _path(chance)
    content = bytearray(_dumped(BODIES[path]))
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(content)) if content else 0
        match chance.randint(0, 3):
            case 0 if content:
                content[place] = chance.randrange(256)
            case 1:
                content[place:place] = chance.randbytes(chance.randint(1, 4))
            case 2:
                del content[place : place + chance.randint(1, 20)]
            case _:
                content[place:place] = content[place : place + 10]
    return Shot(path, bytes(content))


def _binary(chance: random.Random) -> Shot:
    return Shot(_path(chance), chance.randbytes(chance.choice((0, 1, 7, 100, 3000))))


def _deep(chance: random.Random) -> Shot:
    depth = chance.choice((10, 120, 250, 500, 5_000, 50_000))
    opened, closed = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    middle = b"1" if opened != b"[" else b""
    nested = opened * depth + middle + (closed * depth if chance.random() < 0.8 else b"")
    path = _path(chance)
    name = chance.choice(list(BODIES[path])).encode()
    return Shot(path, chance.choice((nested, b'{"' + name + b'":' + nested + b"}")))


def _huge_number(chance: random.Random) -> Shot:
    path = _path(chance)
    name, number = chance.choice(list(BODIES[path])), chance.choice(HUGE)
    content = _dumped({**BODIES[path], name: "@"}).replace(b'"@"', number)
    # A number with more digits than the parser takes is no JSON, and then no field is to blame.
    return Shot(path, content, field=name if len(number) < MAX_DIGITS else None)


def _number_in_a_format(chance: random.Random) -> Shot:
    path = chance.choice((RUN, CHAT, TASKS))
    wanted = {"type": "json_schema", "json_schema": {"schema": {"maximum": "@"}}}
    content = _dumped({**BODIES[path], "response_format": wanted}).replace(b'"@"', chance.choice(HUGE))
    return Shot(path, content)


def _number_in_a_tool(chance: random.Random) -> Shot:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "maxProperties": "@"}}}
    return Shot(CHAT, _dumped({**BODIES[CHAT], "tools": [tool]}).replace(b'"@"', chance.choice(HUGE)))


def _bad_unicode(chance: random.Random) -> Shot:
    path = _path(chance)
    name = chance.choice(TEXTS)
    body = {**BODIES[path], name: "@"}
    return Shot(path, _dumped(body).replace(b"@", chance.choice(BAD_UNICODE)))


def _other_encoding(chance: random.Random) -> Shot:
    path = _path(chance)
    text = json.dumps(BODIES[path])
    encoding = chance.choice(("utf-16", "utf-32", "utf-8-sig", "cp037"))
    return Shot(path, text.encode(encoding))


def _duplicate_field(chance: random.Random) -> Shot:
    path = _path(chance)
    text = _dumped(BODIES[path])
    return Shot(path, text[:-1] + b"," + text[1:])


def _media_type(chance: random.Random) -> Shot:
    path = _path(chance)
    types = (
        "text/plain",
        "",
        "a",
        "multipart/form-data",
        "application/json; charset=utf-7",
        "\u00e9",
        "application/json;;;=",
    )
    return Shot(path, _dumped(BODIES[path]), chance.choice(types))


def _headers(chance: random.Random) -> Shot:
    path = _path(chance)
    names = (
        "x-request-id",
        "x-conversation-id",
        "x-user-id",
        "x-greylag-epoch",
        "idempotency-key",
        "traceparent",
        "authorization",
        "accept",
        "x-api-key",
    )
    values = (
        "",
        " ",
        "a b",
        "\u00ff\u00fe",
        "x" * 300,
        "-1",
        "99999999999999999999",
        "00-zz-zz-01",
        "support-5c9f0a1b2d.0.abcdefgh",
        "Bearer",
        "..",
    )
    return Shot(path, _dumped(BODIES[path]), headers={chance.choice(names): chance.choice(values) for _ in range(3)})


def _messages(chance: random.Random) -> Shot:
    """Conversations of the OpenAI protocol that make no sense."""
    roles = ("user", "assistant", "tool", "system", "developer", "root")
    contents = ("hi", "", None, [{"type": "text", "text": "hi"}], [{"type": "image_url"}], [], 7, {"a": 1})
    calls = (None, [], [{"id": "a", "function": {"name": "x"}}], [{"id": "", "function": {}}], "x", [None])
    messages = [
        {
            "role": chance.choice(roles),
            "content": chance.choice(contents),
            "tool_calls": chance.choice(calls),
            "tool_call_id": chance.choice((None, "a", "", 7)),
        }
        for _ in range(chance.randint(0, 5))
    ]
    return Shot(CHAT, _dumped({**BODIES[CHAT], "messages": messages}))


_KINDS: tuple[Callable[[random.Random], Shot], ...] = (
    *(_wrong_type, _missing, _unknown_field, _any_value, _any_schema, _flipped, _binary, _deep, _huge_number),
    *(_number_in_a_format, _number_in_a_tool, _bad_unicode, _other_encoding, _duplicate_field, _media_type, _headers),
    _messages,
)
