"""The parser of statements, with a bound on what a statement may make it do."""

from __future__ import annotations

import pytest
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError

from agent_runtime.core import sql_parser
from agent_runtime.core.sql_parser import MAX_TOKENS, parse

LONGEST = "SELECT 1" + ",1" * (MAX_TOKENS // 2 - 1)
NESTED = [f"SELECT {word * 30}1{')' * 30}" for word in ("STRUCT(", "DATE (")]


def steps_of(text: str, grammar: str) -> int:
    """How often the parser moves while it reads a statement, as nobody bounds it."""
    dialect = Dialect.get_or_raise(grammar)

    class Counting(dialect.parser_class):
        steps = 0

        def _advance(self, times: int = 1) -> None:
            self.steps += 1
            super()._advance(times)

    parser = Counting(dialect=dialect)
    parser.parse(dialect.tokenize(text), text)
    return parser.steps


def test_each_statement_of_a_text_is_read():
    assert len(parse("SELECT 1; SELECT 2", "postgres")) == 2


def test_as_many_words_as_allowed_are_read_and_one_more_is_too_many():
    assert len(parse(LONGEST, "postgres")) == 1
    with pytest.raises(ParseError, match=r"^too many words$"):
        parse(f"{LONGEST} x", "postgres")


@pytest.mark.parametrize("grammar", ["postgres", "mysql", "sqlite", "bigquery", "snowflake", "tsql"])
@pytest.mark.parametrize("text", NESTED)
def test_a_statement_that_doubles_the_steps_with_each_level_is_given_up(grammar, text):
    with pytest.raises(RecursionError):
        parse(text, grammar)


@pytest.mark.parametrize("text", ["SELECT 1", "SELECT a, (b) FROM t JOIN u ON t.x = u.x WHERE NOT a ORDER BY 1"])
def test_a_statement_may_take_as_many_steps_as_are_allowed_and_no_more(text, monkeypatch):
    steps = steps_of(text, "postgres")

    monkeypatch.setattr(sql_parser, "MAX_STEPS", steps)
    assert len(parse(text, "postgres")) == 1

    monkeypatch.setattr(sql_parser, "MAX_STEPS", steps - 1)
    with pytest.raises(RecursionError):
        parse(text, "postgres")


def test_the_more_words_a_statement_has_the_more_steps_it_may_take(monkeypatch):
    monkeypatch.setattr(sql_parser, "STEPS_PER_TOKEN", 3)
    doubled = "SELECT " + "DATE (" * 5 + "1" + ")" * 5

    with pytest.raises(RecursionError):
        parse(doubled, "bigquery")
    assert len(parse(f"{doubled}{', 1' * 200}", "bigquery")) == 1
