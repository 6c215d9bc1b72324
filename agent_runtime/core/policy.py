"""Decides which tool calls may happen: Deny wins, else the first rule that holds, else the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cel_expr_python import cel  # type: ignore[import-untyped]

from agent_api.v1alpha1.tools import ToolAction
from agent_runtime.core.globs import any_glob_matches
from agent_runtime.core.paths import paths_hold
from agent_runtime.core.shell import shell_holds
from agent_runtime.core.sql import SqlRules, sql_holds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent_api.runtime_document import ToolPolicyDocument
    from agent_api.v1alpha1.tools import ToolRule

CEL_VARIABLES = {"args": cel.Type.Map(cel.Type.STRING, cel.Type.DYN), "tool": cel.Type.STRING}
"""What a condition may speak of: the arguments of the call, and the name of the tool."""

DEFAULT_RULE = -1
"""Position that stands for the policy's default."""


class PolicyInvalid(ValueError):
    """A rule cannot be understood; the message names its position and the cause."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may happen, by this rule."""

    rule: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The call must not happen; the reason is for the model, which may do better."""

    reason: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """The call may happen once a person has said so, by this rule."""

    rule: int


Decision = Allowed | Denied | NeedsApproval


class ToolRules:
    """A policy, compiled once."""

    def __init__(self, document: ToolPolicyDocument) -> None:
        """Compile every rule.

        Raises
        ------
        PolicyInvalid
            If a condition is no CEL expression, or one that is not true or false.
        """
        self._default = document.default
        self._max_calls = document.max_calls_per_run
        environment = cel.NewEnv(variables=CEL_VARIABLES)
        self._rules = tuple(_Rule(position, rule, environment) for position, rule in enumerate(document.rules))

    def may_allow(self, tool: str) -> bool:
        """Whether some call of a tool could be allowed or approved: what never is, the model need not know of."""
        speaking = [rule for rule in self._rules if rule.speaks_of(tool)]
        if any(rule.action is ToolAction.DENY and rule.condition is None for rule in speaking):
            return False
        return self._default is not ToolAction.DENY or any(rule.action is not ToolAction.DENY for rule in speaking)

    def decide(self, tool: str, arguments: Mapping[str, Any], calls: int, calls_by_rule: Mapping[int, int]) -> Decision:
        """Decide one call, given how many calls the run has made, in all and by rule.

        A condition that fails to evaluate denies where it would deny, and allows nothing.
        """
        if calls >= self._max_calls:
            return Denied(f"the run has made the {self._max_calls} tool calls that it may")
        speaking = [rule for rule in self._rules if rule.speaks_of(tool)]
        for rule in speaking:
            if rule.action is ToolAction.DENY and rule.evaluate(tool, arguments) is not False:
                return Denied(f"rule {rule.position + 1} of the tool policy denies it")
        misses = []
        for rule in speaking:
            if rule.action is ToolAction.DENY:
                continue
            miss = rule.miss(tool, arguments, calls_by_rule.get(rule.position, 0))
            if miss is None:
                return _granted(rule.action, rule.position)
            misses.append(f"rule {rule.position + 1}: {miss}")
        if self._default is not ToolAction.DENY:
            return _granted(self._default, DEFAULT_RULE)
        return Denied("no rule of the tool policy allows it" + (f" ({'; '.join(misses)})" if misses else ""))


def _granted(action: ToolAction, position: int) -> Allowed | NeedsApproval:
    return Allowed(position) if action is ToolAction.ALLOW else NeedsApproval(position)


class _Rule:
    """One rule with its condition compiled."""

    def __init__(self, position: int, rule: ToolRule, environment: cel.Env) -> None:
        self.position = position
        self.action = rule.action
        self.condition = None if rule.when is None else _compile(position, rule.when, environment)
        self._rule = rule
        self._sql = rule.sql and SqlRules(rule.sql.dialect, rule.sql.read_only, rule.sql.allowed_tables)
        if self._sql:
            # A grammar is loaded at its first use, which takes half a second: not in the middle of a run.
            sql_holds("SELECT 1", self._sql)

    def speaks_of(self, tool: str) -> bool:
        """Whether one of the rule's globs matches."""
        return any_glob_matches(self._rule.tools, tool)

    def evaluate(self, tool: str, arguments: Mapping[str, Any]) -> bool | None:
        """Value of the condition, true without one; None if it has none for these arguments."""
        if self.condition is None:
            return True
        try:
            value = self.condition.eval(data={"args": dict(arguments), "tool": tool})
            # An error is a value as well, and its text would count as true.
            return value.value() is True if value.type() == cel.Type.BOOL else None
        except Exception:  # noqa: BLE001 - the library raises what its C++ side throws
            return None

    def miss(self, tool: str, arguments: Mapping[str, Any], calls: int) -> str | None:
        """Why the rule does not hold; None if it does."""
        limit = self._rule.max_calls_per_run
        if limit is not None and calls >= limit:
            return f"{limit} calls are used up"
        if self.evaluate(tool, arguments) is not True:
            return "its condition does not hold"
        return next(self._unsafe(arguments), None)

    def _unsafe(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        paths, shell, sql = self._rule.paths, self._rule.shell, self._rule.sql
        if paths is not None and not paths_hold(arguments.get(paths.argument), paths.allowed_prefixes):
            yield f"argument {paths.argument!r} must be a plain path below {', '.join(paths.allowed_prefixes)}"
        if shell is not None and not shell_holds(arguments.get(shell.argument), shell.allowed_programs):
            yield f"argument {shell.argument!r} must be one plain command of {', '.join(shell.allowed_programs)}"
        if sql is not None and self._sql and not sql_holds(arguments.get(sql.argument), self._sql):
            yield f"argument {sql.argument!r} must be one {_wanted_sql(self._sql)}"


def _wanted_sql(rules: SqlRules) -> str:
    kind = "SELECT" if rules.read_only else "statement"
    return kind if rules.tables is None else f"{kind} of the tables {', '.join(rules.tables)}"


def _compile(position: int, text: str, environment: cel.Env) -> cel.Expression:
    try:
        expression = environment.compile(text)
        kind = expression.return_type()
    except RuntimeError as error:
        cause = " ".join(str(error).split())
        raise PolicyInvalid(f"toolPolicy.rules[{position}].when: {cause}") from None
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise PolicyInvalid(f"toolPolicy.rules[{position}].when: is {kind.name()}, must be true or false")
    return expression
