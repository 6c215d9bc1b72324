"""Attacks on SQL that others wrote, and honest queries from others."""

from __future__ import annotations

import itertools
import re

import pytest

from agent_api.v1alpha1.tools import SqlDialect
from agent_runtime.core.sql import SqlRules, sql_holds
from tests.integration.attacks.corpora import sql_fragments, sql_statements
from tests.integration.attacks.sql_oracle import ALLOWED, danger_to_sqlite, dangers

ROLES = (
    "{}",
    "SELECT name FROM items WHERE id = {}",
    "SELECT name FROM items WHERE name = '{}'",
    "SELECT name FROM items ORDER BY {}",
)
STATEMENT_ROLES = ("{}", "SELECT name FROM items WHERE id = ({})", "SELECT name FROM items UNION {}")
IN_TURN = tuple(dialect for dialect in SqlDialect if dialect is not SqlDialect.POSTGRES)
MIN_ATTACKS = 1_000
MIN_SPYING = 900
MIN_HONEST = 200
RULES = {dialect: SqlRules(dialect, read_only=True, tables=ALLOWED) for dialect in SqlDialect}


@pytest.fixture(scope="module")
def statements(packages):
    """Every attack in every role, for Postgres and one of the others."""
    embedded = [role.replace("{}", text) for text in sorted(sql_fragments(packages)) for role in ROLES]
    whole = [role.replace("{}", text) for _, text in sql_statements(packages) for role in STATEMENT_ROLES]
    return [
        (dialect, statement)
        for statement, turn in zip(embedded + whole, itertools.cycle(IN_TURN))
        for dialect in (SqlDialect.POSTGRES, turn)
    ]


def test_what_passes_reads_the_allowed_tables_and_nothing_else(packages, statements):
    assert len(statements) >= MIN_ATTACKS
    passed = [(str(dialect), text) for dialect, text in statements if sql_holds(text, RULES[dialect])]
    assert len(passed) >= MIN_ATTACKS
    assert dangers(passed, packages) == []


def test_no_statement_that_spies_a_server_out_passes(packages):
    spying = [(server, text) for server, text in sql_statements(packages) if re.search(r"\bFROM\b", text)]
    assert len(spying) >= MIN_SPYING
    passed = [
        text
        for _, text in spying
        for dialect in (SqlDialect.POSTGRES, SqlDialect.SQLITE)
        if sql_holds(text, RULES[dialect])
    ]
    assert passed == []


@pytest.mark.parametrize("dialect", ["Postgres", "TSQL"])
def test_the_queries_of_two_benchmarks_pass(packages, dialect):
    folder = next(packages.sources.glob("sqlglot-*")) / "tests" / "fixtures" / "optimizer"
    queries = [
        re.sub(r"^\s*(?:--|#).*$", "", text, flags=re.MULTILINE).strip()
        for name in ("tpc-h/tpc-h.sql", "tpc-ds/tpc-ds.sql")
        for text in (folder / name).read_text().split(";")
    ]
    honest = list(filter(None, queries))
    assert len(honest) >= MIN_HONEST
    rules = SqlRules(SqlDialect(dialect), read_only=True, tables=None)
    assert [query for query in honest if not sql_holds(query, rules)] == []


ATTACKS_SEEN = [
    ("Postgres", "SELECT 1; DROP TABLE items"),
    ("Postgres", "SELECT password FROM secrets"),
    ("Postgres", "SELECT pg_sleep(5) FROM items"),
    ("Postgres", "SELECT SYSTEM_USER FROM items"),
    ("Postgres", "SELECT * INTO x FROM items"),
    ("Postgres", "WITH x AS (DELETE FROM items RETURNING *) SELECT * FROM x"),
    ("Postgres", "SELECT 'secrets'::regclass FROM items"),
    ("MySQL", "SELECT SLEEP(5) FROM items"),
    ("MySQL", "SELECT name FROM items UNION SELECT user FROM mysql.user"),
    ("MySQL", "SELECT @@version FROM items"),
    ("TSQL", "SELECT name FROM items UNION SELECT name FROM master..sysobjects"),
    ("TSQL", "SELECT * INTO x FROM items"),
    ("Snowflake", "SELECT GET_DDL('table', 'x') FROM items"),
    ("BigQuery", "SELECT * FROM secrets"),
    ("SQLite", "SELECT password FROM secrets"),
    ("SQLite", "SELECT load_extension('x') FROM items"),
    ("SQLite", "SELECT name FROM items; DELETE FROM items"),
]


@pytest.mark.parametrize("pair", ATTACKS_SEEN)
def test_the_oracle_sees_a_danger(packages, pair):
    assert dangers([pair], packages)


def test_the_oracle_takes_an_honest_statement_for_harmless(packages):
    text = (
        "WITH x AS (SELECT id, count(*) AS n FROM items GROUP BY id) SELECT o.name, x.n FROM orders o JOIN x USING (id)"
    )
    assert dangers([(str(dialect), text) for dialect in SqlDialect], packages) == []
    assert danger_to_sqlite(text) is None
