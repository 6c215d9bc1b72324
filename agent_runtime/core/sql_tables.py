"""Which tables a statement reads: names of common table expressions told from those of tables, scope by scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from agent_runtime.core.sql_vocabulary import DEFAULT_SCHEMAS, SYSTEM_PREFIXES, SYSTEM_SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_PARTS = 3
_EXACT_CTE_NAMES = ("mysql",)
_SELF_REFERRING_CTES = ("tsql",)

CteName = tuple[str, bool]
"""Name as a scope knows it, and whether it was quoted."""


@dataclass(frozen=True, slots=True)
class TableRules:
    """Allowed tables of a dialect; None allows all but those of the system."""

    dialect: str
    allowed: Sequence[str] | None
    _names: frozenset[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Fold the allowed names."""
        folded = frozenset(_folded_parts(name) for name in self.allowed or ())
        object.__setattr__(self, "_names", folded)

    def allow(self, parts: tuple[str, ...], *, exact: bool) -> bool:
        """Whether a table may be named; `exact` is set if quotes made its case count."""
        if exact and self.dialect in ("postgres", "snowflake") and not self._is_listed_as_written(parts):
            return False
        folded = tuple(part.lower() for part in parts)
        default = DEFAULT_SCHEMAS.get(self.dialect)
        if folded in self._names or (default and len(folded) == 1 and (default, *folded) in self._names):
            return True
        if default and len(folded) == 2 and folded[0] == default and folded[1:] in self._names:  # noqa: PLR2004
            return True
        return self.allowed is None and not any(_is_of_the_system(part) for part in folded)

    def _is_listed_as_written(self, parts: tuple[str, ...]) -> bool:
        """Whether a quoted name is the one that its unquoted form means, or stands in the list letter by letter."""
        plain = str.lower if self.dialect == "postgres" else str.upper
        if self.allowed is None or all(part == plain(part) for part in parts):
            return True
        listed = '"' + '"."'.join(parts) + '"'
        return listed in self.allowed or (self.dialect == "postgres" and ".".join(parts) in self.allowed)


def _folded_parts(name: str) -> tuple[str, ...]:
    return tuple(part.strip('"`[]').lower() for part in name.split("."))


def _is_of_the_system(part: str) -> bool:
    return part in SYSTEM_SCHEMAS or part.startswith(SYSTEM_PREFIXES)


def reads_only_allowed_tables(tree: exp.Expr, rules: TableRules) -> bool:
    """Whether every table in a statement is allowed; names of its own common table expressions are none."""
    return _walk(tree, frozenset(), rules)


def _walk(node: exp.Expr, known: frozenset[CteName], rules: TableRules) -> bool:
    """Look below a node, where `known` are the expressions whose names hide tables."""
    if isinstance(node, exp.Table) and not _is_allowed_table(node, known, rules):
        return False
    clause = node.args.get("with_") or node.args.get("with")
    if isinstance(clause, exp.With):
        inner = _walk_clause(clause, known, rules)
        if inner is None:
            return False
        known = inner
    return all(_walk(child, known, rules) for child in node.iter_expressions() if child is not clause)


def _walk_clause(clause: exp.With, known: frozenset[CteName], rules: TableRules) -> frozenset[CteName] | None:
    """Names known after a WITH; None if one of its queries reads what it may not.

    A query sees the names before it, and its own only if it may recur: to itself it is a table otherwise.
    """
    recurs = bool(clause.args.get("recursive")) or rules.dialect in _SELF_REFERRING_CTES
    for cte in clause.expressions:
        name = _cte_name(cte, rules.dialect)
        if not _walk(cte.this, known | {name} if recurs else known, rules):
            return None
        known |= {name}
    return known


def _cte_name(cte: exp.Expr, dialect: str) -> CteName:
    identifier = cte.args["alias"].this
    return _as_known(identifier, dialect)


def _as_known(identifier: exp.Expr, dialect: str) -> CteName:
    quoted = bool(identifier.args.get("quoted"))
    exact = quoted or dialect in _EXACT_CTE_NAMES
    return (identifier.name if exact else identifier.name.lower(), quoted)


def _is_allowed_table(table: exp.Table, known: frozenset[CteName], rules: TableRules) -> bool:
    if isinstance(table.this, exp.Func):
        return not table.args.get("db")
    parts = table.parts
    if not 1 <= len(parts) <= _MAX_PARTS or not all(isinstance(part, exp.Identifier) and part.name for part in parts):
        return False
    if len(parts) == 1 and _as_known(parts[0], rules.dialect) in known:
        return True
    exact = any(bool(part.args.get("quoted")) for part in parts)
    names = tuple(part.name for part in parts)
    if rules.dialect == "bigquery":
        # Backquotes may hold a whole path: `project.dataset.table`.
        names = tuple(piece for name in names for piece in name.split("."))
    return rules.allow(names, exact=exact)
