from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.v1alpha1.tools import SqlDialect
from agent_runtime.core.sql import SqlRules, sql_holds
from agent_runtime.core.sql_text import MAX_BRACKETS, MAX_NESTING, MAX_STATEMENT_CHARACTERS, code_of

GROUPS = yaml.safe_load((Path(__file__).parents[2] / "data" / "attacks" / "sql.yaml").read_text(encoding="utf-8"))


def cases(kind):
    return [
        pytest.param(
            SqlRules(SqlDialect(group["dialect"]), tables=group["tables"]), text, id=f"{group['dialect']}: {text}"
        )
        for group in GROUPS
        for text in group[kind]
    ]


def test_the_list_is_long_enough():
    assert len(cases("attacks")) >= 60
    assert len(cases("benign")) >= 40


@pytest.mark.parametrize(("rules", "argument"), cases("attacks"))
def test_an_attack_does_not_pass(rules, argument):
    assert not sql_holds(argument, rules)


@pytest.mark.parametrize(("rules", "argument"), cases("benign"))
def test_an_honest_statement_passes(rules, argument):
    assert sql_holds(argument, rules)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("INSERT INTO orders (a) VALUES (1)", True),
        ("UPDATE orders SET a = 1 WHERE id = 2", True),
        ("DELETE FROM orders WHERE id = 2", True),
        ("SELECT * FROM orders", True),
        ("INSERT INTO orders SELECT * FROM secrets", False),
        ("UPDATE orders SET a = (SELECT a FROM secrets)", False),
        ("DELETE FROM secrets", False),
        ("DELETE FROM orders USING secrets WHERE true", False),
        ("INSERT INTO orders VALUES (pg_sleep(1))", False),
        ("DROP TABLE orders", False),
        ("TRUNCATE orders", False),
        ("WITH x AS (DELETE FROM secrets RETURNING 1) INSERT INTO orders SELECT * FROM x", False),
        ("DELETE FROM orders; DELETE FROM orders", False),
    ],
)
def test_a_rule_that_is_not_read_only_lets_rows_of_its_tables_change_and_nothing_else(text, passes):
    assert sql_holds(text, SqlRules(read_only=False, tables=["orders"])) == passes


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT " + "(" * (MAX_NESTING - 1) + "1" + ")" * (MAX_NESTING - 1),
        "SELECT " + "NOT " * 4000 + "true",
        "SELECT " + "-" * 8000 + "1",
        "SELECT " + "- " * 8000 + "1",
        "SELECT " + "1+" * 9000 + "1",
        "SELECT " + "CASE WHEN 1=1 THEN " * 500 + "1" + " END" * 500,
        "SELECT 1 " + "UNION SELECT 1 " * 1000,
        "SELECT " + "a." * 5000 + "b",
        "SELECT x" + "::int" * 3000,
        "SELECT x" + "[1]" * 3000,
        "SELECT x" + "[1]" * MAX_BRACKETS,
        "SELECT " + "[" * (MAX_BRACKETS - 1) + "1" + "]" * (MAX_BRACKETS - 1),
        "SELECT " + "ARRAY[" * (MAX_BRACKETS - 1) + "1" + "]" * (MAX_BRACKETS - 1),
        "WITH a AS (" * 300 + "SELECT 1" + ") SELECT 1" * 300,
        "SELECT " + "STRUCT(" * 30 + "1" + ")" * 30,
        "SELECT " + "DATE (" * 30 + "1" + ")" * 30,
        "SELECT * FROM orders " + "JOIN orders ON true " * 900,
        "SELECT '" + "a" * MAX_STATEMENT_CHARACTERS + "'",
    ],
    ids=lambda text: text[:40],
)
def test_a_statement_made_to_exhaust_the_parser_is_answered_soon(text):
    began = time.process_time()
    sql_holds(text, SqlRules())

    assert time.process_time() - began < 2


FORBIDDEN = [
    "DROP TABLE orders",
    "DELETE FROM orders",
    "SELECT * FROM secrets",
    "SELECT pg_sleep(1)",
    "SELECT * INTO x FROM orders",
    "UPDATE orders SET a = 1",
    "WITH x AS (DELETE FROM orders RETURNING 1) SELECT * FROM x",
    "SELECT pg_read_file('x') FROM orders",
    "SELECT * FROM orders FOR UPDATE",
    "SELECT * FROM information_schema.tables",
]
BLANKS = st.sampled_from(
    [" ", "\n", "\t", "  ", "/**/", "/* x */", " -- x\n", "\r\n", "/*!*/", "--\n", "\u00a0", "\x0b", "\u3000"]
)
WRAPPINGS = st.sampled_from(
    [
        "{}", "({})", "SELECT 1; {}", "{}; SELECT 1", "{};", "SELECT * FROM ({}) x", "SELECT 1 UNION {}",
        "{} UNION SELECT 1", "WITH y AS ({}) SELECT * FROM y", "SELECT ({})", "SELECT 1 WHERE EXISTS ({})",
        "/* a */ {}", "-- a\n{}", "SELECT 'a'; {}", "SELECT 1 /*; */ {}", "EXPLAIN {}", "BEGIN; {}",
        "SELECT '\\'; {} -- '", "/*! {} */", "SELECT 1 /*!{}*/", "SELECT $$'$$; {} --'",
    ]
)  # fmt: skip


def recased(text, upper):
    return "".join(c.upper() if big else c.lower() for c, big in zip(text, upper, strict=False)) + text[len(upper) :]


@given(
    st.sampled_from(FORBIDDEN),
    st.lists(st.booleans(), max_size=60),
    st.lists(BLANKS, min_size=1, max_size=12),
    st.lists(WRAPPINGS, max_size=3),
    st.sampled_from(list(SqlDialect)),
)
@settings(max_examples=600, deadline=None)
def test_a_forbidden_statement_never_passes_however_it_is_written(statement, upper, blanks, wrappings, dialect):
    words = recased(statement, upper).split(" ")
    text = words[0] + "".join(blanks[index % len(blanks)] + word for index, word in enumerate(words[1:]))
    for wrapping in wrappings:
        text = wrapping.replace("{}", text)

    assert not sql_holds(text, SqlRules(dialect, tables=["orders"]))


@given(st.text(max_size=60), st.sampled_from(list(SqlDialect)))
@settings(deadline=None)
def test_any_text_gets_an_answer(text, dialect):
    sql_holds(f"SELECT {text}", SqlRules(dialect))


def test_strings_names_and_comments_are_no_code():
    assert code_of("a 'b;' \"c;\" `d;` /* e */ f -- g").split() == ["a", "f"]
    assert code_of("a 'b") is None
    assert code_of("a /* b") is None


@pytest.mark.parametrize("dialect", SqlDialect)
@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("SELECT a FROM orders", True),
        ("select a from orders", True),
        ("  (SELECT a FROM orders)", True),
        ("/* why */\r\nSELECT a FROM orders", True),
        ("-- why\r\nSELECT a\r\nFROM orders", True),
        ("SELECT a FROM orders UNION ALL SELECT b FROM orders", True),
        ("SELECT coalesce(a, 1), count(*) FROM orders GROUP BY 1", True),
        ("SELECT unknown_function(a) FROM orders", False),
        ("SELECTED a FROM orders", False),
        ("SELECT a FROM", False),
        ("", False),
        ("SELECT a FROM orders; SELECT b FROM orders", False),
        ("INSERT INTO orders (a) VALUES (1)", False),
        ("SHOW TABLES", False),
        ("VALUES (1)", False),
    ],
)
def test_in_every_dialect_one_statement_of_known_words_that_reads_passes(dialect, text, passes):
    assert sql_holds(text, SqlRules(dialect, tables=["orders"])) is passes


@pytest.mark.parametrize("argument", [None, 3, True, ["SELECT 1"], {"sql": "SELECT 1"}])
def test_what_is_no_text_is_no_statement(argument):
    assert sql_holds(argument, SqlRules()) is False


@pytest.mark.parametrize(
    ("dialect", "text", "passes"),
    [
        (SqlDialect.POSTGRES, "SELECT current_user", False),
        (SqlDialect.MYSQL, "SELECT current_user", False),
        (SqlDialect.POSTGRES, "SELECT session_user FROM orders", False),
        (SqlDialect.POSTGRES, "SELECT user FROM orders", False),
        (SqlDialect.T_SQL, "SELECT user FROM orders", False),
        (SqlDialect.MYSQL, "SELECT user FROM orders", True),
        (SqlDialect.POSTGRES, 'SELECT "user" FROM orders', True),
        (SqlDialect.POSTGRES, "SELECT orders.user FROM orders", True),
        (SqlDialect.POSTGRES, "SELECT username FROM orders", True),
        (SqlDialect.POSTGRES, "SELECT mine.lower(a) FROM orders", False),
        (SqlDialect.POSTGRES, "SELECT mine.cosine_similarity(a) FROM orders", False),
        (SqlDialect.POSTGRES, 'SELECT "drop" FROM orders', True),
        (SqlDialect.MYSQL, "SELECT @@version", False),
        (SqlDialect.MYSQL, "SELECT @a := 1", False),
        (SqlDialect.BIGQUERY, "SELECT STRUCT(1 AS a)", True),
        (SqlDialect.POSTGRES, "SELECT a::int, a::text FROM orders", True),
        (SqlDialect.POSTGRES, "SELECT a::evil FROM orders", False),
    ],
)
def test_names_that_are_calls_variables_or_somebodys_functions_do_not_pass(dialect, text, passes):
    assert sql_holds(text, SqlRules(dialect, tables=["orders"])) is passes


@pytest.mark.parametrize(("columns", "passes"), [(2400, True), (2600, False)])
def test_a_statement_of_too_many_parts_does_not_pass(columns, passes):
    assert sql_holds("SELECT ? FROM orders".replace("?", ",".join("a" * columns)), SqlRules()) is passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("UPDATE orders SET a = 1", True),
        ("MERGE INTO orders USING items ON orders.a = items.a WHEN MATCHED THEN DELETE", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", True),
        ("CREATE TABLE orders (a int)", False),
        ("ALTER TABLE orders ADD a int", False),
    ],
)
def test_rows_may_change_where_the_rule_says_so_and_tables_never(text, passes):
    assert sql_holds(text, SqlRules(read_only=False, tables=["orders", "items"])) is passes
