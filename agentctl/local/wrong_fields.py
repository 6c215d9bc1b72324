"""What is wrong with the fields of an agent, in words; a value is shown only where it can be no secret."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agent_api.crd.structural import documented_schema
from agent_api.meta import DataKey, ObjectName
from agent_api.quantities import Duration, Fraction, Money
from agent_api.reference import field_rows
from agent_api.v1alpha1.agent import AgentDeployment
from agent_api.v1alpha1.budgets import TimeZoneName
from agent_api.v1alpha1.model import BaseUrl
from agent_api.v1alpha1.tools import ArgumentName, FolderPath, HeaderName, ToolGlob, ToolSourceName
from agentctl.text.layout import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    Location = tuple[str | int, ...]

MAX_SHOWN = 5
MAX_NAME = 80
MAX_VALUE = 32
"""Most characters of a value that is shown; most credentials are longer."""

LATER: Mapping[Location, str] = {
    ("spec", "autoscaling"): "is not there yet; leave it out, and say in spec.replicas how many pods"
}
"""Fields that people look for, and that a later version may have."""

_UNKNOWN = "extra_forbidden"
_NO_TEXT = "string_type"
_OTHER_FORM = "string_pattern_mismatch"
_OTHER_CHOICE = "enum"

_SHOWN_FORMS: tuple[tuple[Any, str], ...] = (
    (Duration, "numbers with h, m, s or ms and no spaces, such as 24h, 90s or 1m30s; there are no days"),
    (Money, "a decimal number of US dollars without sign, at most 6 decimals, such as 0.05"),
    (Fraction, "a decimal number from 0 to 1, at most 6 decimals, such as 0.02"),
    (TimeZoneName, "the IANA name of a time zone, such as UTC or Europe/Berlin"),
    (ToolSourceName, "lower case letters, digits and '-', beginning with a letter, such as my-kb"),
    (ToolGlob, "letters, digits, '_', '-' and '.', with * for any characters and ? for one, such as kb.search*"),
    (ArgumentName, "letters, digits, '_' and '-', beginning with a letter or '_', such as order_id"),
    (FolderPath, "an absolute folder with no '.', '..' or empty part, such as /workspace"),
)
"""Types of which people write the values themselves, with their form in words."""

_HIDDEN_FORMS: tuple[tuple[Any, str], ...] = (
    (ObjectName, "the name of an object: lower case letters, digits, '-' and '.', such as openai; not its content"),
    (DataKey, "the name of a key: letters, digits, '-', '_' and '.', such as api-key; not its content"),
    (BaseUrl, "an absolute URL without user, password or fragment, such as https://api.openai.com/v1"),
    (HeaderName, "the name of a header, such as Authorization; not its value"),
)
"""Types in whose place a secret may be written by mistake."""


def wrong_fields(error: ValidationError) -> str:
    """The first wrong fields with what they must be; unknown ones first, as one misspelt is one missing as well."""
    details = sorted(error.errors(include_url=False), key=lambda item: item["type"] != _UNKNOWN)
    shown = [f"{_path(item['loc'])}: {_fault(item)}" for item in details[:MAX_SHOWN]]
    more = [f"and {len(details) - MAX_SHOWN} more"] if len(details) > MAX_SHOWN else []
    return "; ".join([*shown, *more])


def _fault(item: ErrorDetails) -> str:
    kind, value = item["type"], item["input"]
    if kind == _UNKNOWN:
        return LATER.get(item["loc"]) or _unknown(item["loc"])
    if kind == _OTHER_FORM:
        return _other_form(item)
    if kind == _NO_TEXT:
        form = _words(_node_at(item["loc"]).get("pattern", ""))
        return f"must be a text; put it in quotes{form and f': {form}'}"
    if kind == _OTHER_CHOICE and isinstance(value, str):
        return f"{_shown(value)}must be {item['ctx']['expected']}"
    return item["msg"]


def _unknown(location: Location) -> str:
    """The nearest of the fields that there are at this place, and all of them."""
    names = list(_node_at(location[:-1]).get("properties", {}))
    if not names:
        return "is no field, and there are none here; leave it out"
    by_letters = {name.lower(): name for name in names}
    near = get_close_matches(_name(str(location[-1])).lower().replace("_", ""), by_letters, n=1)
    meant = f"did you mean {by_letters[near[0]]}? There" if near else "there"
    return f"is no field; {meant} are: {', '.join(names)}"


def _node_at(location: Location) -> Mapping[str, Any]:
    """What the schema says of a place; nothing if it does not reach so far."""
    node: Mapping[str, Any] = _schema()
    for part in location:
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return node


@cache
def _schema() -> dict[str, Any]:
    return documented_schema(AgentDeployment)


def _other_form(item: ErrorDetails) -> str:
    """The form in words; where there are none, what the reference says of the field in place of a pattern."""
    pattern = item["ctx"]["pattern"]
    if words := _words(pattern):
        return f"{_shown(item['input']) if pattern in _forms(_SHOWN_FORMS) else ''}must be {words}"
    place = re.sub(r"\[[0-9]+\]", "[]", _path(item["loc"])).removeprefix("spec.")
    described = next((row.description for row in field_rows("spec") if row.path == place), "")
    return f"is not of the form that it must have: {described.removesuffix('.')}" if described else item["msg"]


def _words(pattern: str) -> str:
    return _forms(_SHOWN_FORMS).get(pattern) or _forms(_HIDDEN_FORMS).get(pattern, "")


@cache
def _forms(forms: tuple[tuple[Any, str], ...]) -> dict[str, str]:
    """Words by pattern."""
    return {TypeAdapter(kind).json_schema()["pattern"]: words for kind, words in forms}


def _shown(value: str) -> str:
    """A value in front of what it must be; nothing if it is so long that it may be a credential."""
    return f"{value!r}: " if len(value) <= MAX_VALUE else ""


def _path(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in location)
    return text.removeprefix(".")


def _name(part: str) -> str:
    """A name of the file, fit for a terminal."""
    return printable(part[:MAX_NAME])
