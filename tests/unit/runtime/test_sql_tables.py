"""Which tables a statement may read: names that quotes change, names of a WITH, and those of the system."""

from __future__ import annotations

import pytest

from agent_api.v1alpha1.tools import SqlDialect
from agent_runtime.core.sql import SqlRules, sql_holds

POSTGRES, MYSQL, SQLITE, BIGQUERY, SNOWFLAKE, T_SQL = SqlDialect
READ = "SELECT * FROM ?"


@pytest.mark.parametrize(
    ("dialect", "tables", "name", "passes"),
    [
        (POSTGRES, ["orders"], "orders", True),
        (POSTGRES, ["orders"], "ORDERS", True),
        (POSTGRES, ["orders"], "other", False),
        (POSTGRES, ["orders"], "public.orders", True),
        (POSTGRES, ["orders"], "sales.orders", False),
        (POSTGRES, ["orders"], "public.other", False),
        (POSTGRES, ["orders"], "x.public.orders", False),
        (POSTGRES, ["public.orders"], "orders", True),
        (POSTGRES, ["public.orders"], "public.orders", True),
        (POSTGRES, ["sales.orders"], "sales.orders", True),
        (POSTGRES, ["sales.orders"], "orders", False),
        (POSTGRES, ["a.b.c"], "a.b.c", True),
        (POSTGRES, ["a.b.c.d"], "a.b.c.d", False),
        (POSTGRES, ["orders", "items"], "items", True),
        (POSTGRES, [], "orders", False),
        (MYSQL, ["orders"], "public.orders", False),
        (SQLITE, ["orders"], "main.orders", True),
        (T_SQL, ["orders"], "dbo.orders", True),
        (T_SQL, ["[orders]"], "[ORDERS]", True),
    ],
)
def test_a_table_passes_as_it_is_listed_or_by_the_schema_that_it_has_anyway(dialect, tables, name, passes):
    assert sql_holds(READ.replace("?", name), SqlRules(dialect, tables=tables)) == passes


@pytest.mark.parametrize(
    ("dialect", "listed", "name", "passes"),
    [
        (POSTGRES, "orders", '"orders"', True),
        (POSTGRES, "orders", '"Orders"', False),
        (POSTGRES, "Orders", '"Orders"', True),
        (POSTGRES, "Orders", '"oRders"', False),
        (POSTGRES, '"Orders"', '"Orders"', True),
        (POSTGRES, '"Orders"', '"ORDERS"', False),
        (POSTGRES, '"Sales"."Orders"', '"Sales"."Orders"', True),
        (POSTGRES, '"Sales"."Orders"', '"sales"."Orders"', False),
        (POSTGRES, "sales.orders", 'sales."orders"', True),
        (POSTGRES, "sales.orders", '"Sales".orders', False),
        (SNOWFLAKE, "orders", '"ORDERS"', True),
        (SNOWFLAKE, "orders", '"orders"', False),
        (SNOWFLAKE, "Orders", '"Orders"', False),
        (SNOWFLAKE, '"Orders"', '"Orders"', True),
        (MYSQL, "orders", "`ORDERS`", True),
        (BIGQUERY, "p.d.t", "`p.d.t`", True),
        (BIGQUERY, "p.d.t", "`p.d`.t", True),
        (BIGQUERY, "d.t", "`p.d.t`", False),
        (BIGQUERY, "p.d.t", "`p.d.u`", False),
    ],
)
def test_a_quoted_name_passes_only_if_it_means_the_table_that_is_listed(dialect, listed, name, passes):
    assert sql_holds(READ.replace("?", name), SqlRules(dialect, tables=[listed])) == passes


@pytest.mark.parametrize(
    ("dialect", "name", "passes"),
    [
        (POSTGRES, "anything", True),
        (POSTGRES, "some.thing", True),
        (POSTGRES, '"Any Thing"', True),
        (POSTGRES, "pg_catalog.pg_user", False),
        (POSTGRES, "pg_user", False),
        (POSTGRES, '"pg_user"', False),
        (POSTGRES, "x.information_schema.tables", False),
        (MYSQL, "mysql.user", False),
        (SQLITE, "sqlite_master", False),
        (T_SQL, "sys.objects", False),
    ],
)
def test_without_a_list_every_table_passes_but_those_of_the_system(dialect, name, passes):
    assert sql_holds(READ.replace("?", name), SqlRules(dialect)) == passes


@pytest.mark.parametrize(
    ("dialect", "text", "passes"),
    [
        (POSTGRES, "WITH a AS (SELECT 1) SELECT * FROM a", True),
        (POSTGRES, "WITH a AS (SELECT 1) SELECT * FROM b", False),
        (POSTGRES, "WITH a AS (SELECT 1) SELECT * FROM public.a", False),
        (POSTGRES, "WITH a AS (SELECT * FROM secrets) SELECT * FROM a", False),
        (POSTGRES, "WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b", True),
        (POSTGRES, "WITH b AS (SELECT * FROM a), a AS (SELECT 1) SELECT * FROM b", False),
        (POSTGRES, "WITH secrets AS (SELECT * FROM secrets) SELECT * FROM secrets", False),
        (POSTGRES, "WITH RECURSIVE a AS (SELECT 1 AS n UNION SELECT n FROM a) SELECT * FROM a", True),
        (POSTGRES, "WITH a AS (SELECT 1 AS n UNION SELECT n FROM a) SELECT * FROM a", False),
        (T_SQL, "WITH a AS (SELECT 1 AS n UNION ALL SELECT n FROM a) SELECT * FROM a", True),
        (POSTGRES, "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x", True),
        (POSTGRES, "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a", False),
        (POSTGRES, "WITH a AS (SELECT 1) SELECT * FROM (SELECT * FROM a) x", True),
        (POSTGRES, "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b) SELECT * FROM b", False),
        (POSTGRES, "WITH a AS (SELECT 1) SELECT (SELECT max(n) FROM secrets) FROM a", False),
    ],
)
def test_a_name_of_a_with_is_no_table_where_it_is_known_and_nowhere_else(dialect, text, passes):
    assert sql_holds(text, SqlRules(dialect, tables=["orders"])) == passes


@pytest.mark.parametrize(
    ("dialect", "defined", "read", "passes"),
    [
        (POSTGRES, "a", "A", True),
        (POSTGRES, '"A"', '"A"', True),
        (POSTGRES, '"A"', "a", False),
        (POSTGRES, "a", '"A"', False),
        (MYSQL, "a", "a", True),
        (MYSQL, "a", "A", False),
    ],
)
def test_the_case_of_a_name_of_a_with_counts_where_quotes_or_the_dialect_say_so(dialect, defined, read, passes):
    text = f"WITH {defined} AS (SELECT 1) {READ.replace('?', read)}"
    assert sql_holds(text, SqlRules(dialect, tables=["orders"])) == passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("SELECT * FROM generate_series(1, 3)", True),
        ("SELECT * FROM generate_series(1, 3) g, orders", True),
        ("SELECT * FROM evil.generate_series(1, 3)", False),
    ],
)
def test_a_function_stands_for_a_table_unless_somebody_elses_schema_holds_it(text, passes):
    assert sql_holds(text, SqlRules(tables=["orders"])) == passes
