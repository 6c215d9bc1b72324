"""Whether a statement that a model wrote reads, and touches only tables that it may.

The text must be plain (`sql_text`), a real parser of the dialect must read it as one statement, and everything in the
tree must be known (`sql_vocabulary`): what is not understood is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError

from agent_api.v1alpha1.tools import SqlDialect
from agent_runtime.core.sql_parser import parse
from agent_runtime.core.sql_tables import TableRules, reads_only_allowed_tables
from agent_runtime.core.sql_text import code_of, is_plain_statement
from agent_runtime.core.sql_vocabulary import (
    CALLS_WITHOUT_BRACKETS,
    CHANGES,
    NAMED_FUNCTIONS,
    RESERVED,
    SYNTAX,
    TYPED_FUNCTIONS,
    USER_IS_A_CALL,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NODES = 5_000
_GRAMMARS = {
    SqlDialect.POSTGRES: "postgres",
    SqlDialect.MYSQL: "mysql",
    SqlDialect.SQLITE: "sqlite",
    SqlDialect.BIGQUERY: "bigquery",
    SqlDialect.SNOWFLAKE: "snowflake",
    SqlDialect.T_SQL: "tsql",
}
_READING_WORDS = frozenset(("select", "with"))
_CHANGING_WORDS = _READING_WORDS | {"insert", "update", "delete", "merge"}
_CHANGING = (exp.Insert, exp.Update, exp.Delete, exp.Merge)


@dataclass(frozen=True, slots=True)
class SqlRules:
    """What a statement may do; `tables` None means any but those of the system."""

    dialect: SqlDialect = SqlDialect.POSTGRES
    read_only: bool = True
    tables: Sequence[str] | None = None


def sql_holds(argument: object, rules: SqlRules) -> bool:
    """Whether an argument is one statement that does no more than the rules allow; False for anything else."""
    if not isinstance(argument, str) or not is_plain_statement(argument):
        return False
    if not _begins_with(argument, _READING_WORDS if rules.read_only else _CHANGING_WORDS):
        return False
    try:
        tree = _parsed(argument, rules.dialect)
        return tree is not None and _is_allowed(tree, rules)
    except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, KeyError, IndexError):
        # A parser that stumbles over a statement has not understood it, whatever made it stumble.
        return False


def _begins_with(text: str, words: frozenset[str]) -> bool:
    """Whether the first word is one of these; the parser would log a statement that it does not know."""
    code = (code_of(text.replace("\r\n", "\n")) or "").lstrip(" \t\n(")
    return code[: len(code) - len(code.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))].lower() in words


def _parsed(text: str, dialect: SqlDialect) -> exp.Expr | None:
    statements = parse(text, _GRAMMARS[dialect])
    if len(statements) != 1 or not isinstance(statements[0], (exp.Query, *_CHANGING)):
        return None
    return statements[0]


def _is_allowed(tree: exp.Expr, rules: SqlRules) -> bool:
    if rules.read_only and not isinstance(tree.unnest(), (exp.Select, exp.SetOperation)):
        return False
    syntax = SYNTAX if rules.read_only else SYNTAX | CHANGES
    grammar = _GRAMMARS[rules.dialect]
    calls = CALLS_WITHOUT_BRACKETS | {"user"} if grammar in USER_IS_A_CALL else CALLS_WITHOUT_BRACKETS
    for count, node in enumerate(tree.walk()):
        if count >= MAX_NODES or not _is_known(node, syntax) or _is_bare_name_of(node, calls):
            return False
    return reads_only_allowed_tables(tree, TableRules(grammar, rules.tables))


def _is_bare_name_of(node: exp.Expr, names: frozenset[str]) -> bool:
    """Whether a column is named without its table and without quotes, by one of these."""
    if not isinstance(node, exp.Column) or node.table:
        return False
    return isinstance(node.this, exp.Identifier) and not node.this.quoted and node.name.lower() in names


def _is_known(node: exp.Expr, syntax: frozenset[str]) -> bool:
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc | exp.CombinedAggFunc):
        name = node.this
        # A name with a schema is a function that somebody wrote, whatever it is called.
        return isinstance(name, str) and name.lower() in NAMED_FUNCTIONS and not isinstance(node.parent, exp.Dot)
    if isinstance(node, exp.Func):
        return type(node).__name__ in TYPED_FUNCTIONS
    if isinstance(node, exp.Identifier):
        return bool(node.quoted) or node.name.lower() not in RESERVED
    if isinstance(node, exp.Dot):
        return not isinstance(node.expression, exp.Func)
    if isinstance(node, exp.PropertyEQ):
        # Elsewhere `:=` sets a variable.
        return isinstance(node.parent, exp.Struct)
    if isinstance(node, exp.Parameter):
        # @@name is the server's.
        return not isinstance(node.this, exp.Parameter)
    if isinstance(node, exp.DataType):
        return bool(node.this != exp.DataType.Type.USERDEFINED)
    return type(node).__name__ in syntax
