"""Texts of statements that every dialect cuts into the same pieces, and those that some would cut otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.sql_text import (
    MAX_BRACKETS,
    MAX_NESTING,
    MAX_STATEMENT_CHARACTERS,
    code_of,
    is_plain_statement,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("SELECT 1", True),
        ("SELECT 1;", True),
        ("SELECT 1 ; \n\t", True),
        ("SELECT 1;;", False),
        ("SELECT 1; SELECT 2", False),
        ("SELECT 1; -- x", True),
        ("SELECT ';'", True),
        ("SELECT\r\n1", True),
        ("SELECT\r1", False),
        ("SELECT\t1\n", True),
        ("SELECT\x0b1", False),
        ("SELECT\u200b1", False),
        ("SELECT\u20281", False),
        ("SELECT '\x00'", False),
        ("SELECT '\ue000'", False),
        ("SELECT '\u0378'", False),
        ("SELECT '\u2029'", False),
        ("SELECT '\ud800'", False),
        ("SELECT größe", True),
        ("SELECT '€'", True),
        ("SELECT €", False),
        ("SELECT \uff41", False),
        ("SELECT '\uff41'", True),
        ("SELECT a\u0301", False),
    ],
)
def test_a_text_is_one_statement_of_visible_characters(text, plain):
    assert is_plain_statement(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("SELECT 'it''s'", True),
        ("SELECT 'a", False),
        ('SELECT "a', False),
        ("SELECT `a", False),
        ("SELECT '\"'", True),
        (r"SELECT 'a\b'", True),
        (r"SELECT 'a\'", False),
        (r"SELECT 'a\\'", False),
        (r'SELECT "a\"', False),
        (r"SELECT `a\`", False),
        (r"SELECT \a", False),
        ("SELECT $1", True),
        ("SELECT $$a$$", False),
        ("SELECT $tag$a$tag$", False),
        ("SELECT '$$'", False),
    ],
)
def test_a_string_ends_where_every_dialect_sees_its_end(text, plain):
    assert is_plain_statement(text) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("SELECT 1 -- a", True),
        ("SELECT 1 --\ta\n+ 1", True),
        ("SELECT 1 --", True),
        ("SELECT 1 --\n+ 1", True),
        ("SELECT 1 --1", False),
        ("SELECT 1 -- it's", False),
        ("SELECT 1 -- a; b", False),
        ("SELECT 1 -- $a", False),
        ("SELECT /* a */ 1", True),
        ("SELECT /**/ 1", True),
        ("SELECT /* a\nb */ 1", True),
        ("SELECT /*! 1 */", False),
        ("SELECT /*+ 1 */", False),
        ("SELECT /*M! 1 */", False),
        ("SELECT /*m! 1 */", False),
        ("SELECT /* a; */ 1", False),
        ("SELECT /* ' */ 1", False),
        ("SELECT /* /* */ */ 1", False),
        ("SELECT /* a", False),
        ("SELECT 1 */", False),
        ("SELECT 1 # a", False),
        ("SELECT a #> b", True),
        ("SELECT a #>> b", True),
        ("SELECT a #> b # c", False),
        ("SELECT '-- a' || '/* b'", True),
    ],
)
def test_a_comment_passes_only_if_it_is_one_everywhere_and_hides_nothing(text, plain):
    assert is_plain_statement(text) == plain


@pytest.mark.parametrize(("opening", "closing"), ["()", "[]", "{}"])
def test_nesting_is_bounded_whatever_brackets_it_is_made_of(opening, closing):
    most = min(MAX_NESTING, MAX_BRACKETS) if opening == "[" else MAX_NESTING
    assert is_plain_statement("SELECT " + opening * most + "1" + closing * most)
    assert not is_plain_statement("SELECT " + opening * (most + 1) + "1" + closing * (most + 1))
    if opening != "[":
        assert is_plain_statement("SELECT " + f"{opening}1{closing} + " * (most + 1) + "1")


def test_brackets_of_any_kind_nest_in_each_other():
    half = MAX_NESTING // 2
    assert is_plain_statement("SELECT " + "({" * half + "})" * half)
    assert not is_plain_statement("SELECT " + "({" * half + "[1]" + "})" * half)


@pytest.mark.parametrize("word", ["case", "NOT", "Case", "not"])
def test_words_that_nest_without_brackets_are_bounded_as_well(word):
    most = MAX_NESTING * MAX_NESTING
    assert is_plain_statement(f"SELECT {f'{word} ' * most}")
    assert not is_plain_statement(f"SELECT {f'{word} ' * (most + MAX_NESTING)}")
    assert is_plain_statement(f"SELECT {f'{word}s ' * (most + MAX_NESTING)}")


def test_the_size_is_bounded():
    longest = "SELECT '" + "a" * (MAX_STATEMENT_CHARACTERS - 9) + "'"
    assert is_plain_statement(longest)
    assert not is_plain_statement(longest + " ")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ""),
        ("a", "a"),
        ("a'b'c", "a c"),
        ("''", " "),
        ("a'it''s'b", "a  b"),
        ('a"b`"c`d"`', "a c "),
        ("a/*b*/c", "a c"),
        ("a-- b\nc", "a \nc"),
        ("a - b / c * d", "a - b / c * d"),
        ("'", None),
        ("a 'b' \"", None),
        ("--a", None),
        ("/*", None),
    ],
)
def test_code_is_what_stands_outside_of_strings_names_and_comments(text, code):
    assert code_of(text) == code


@given(st.lists(st.sampled_from(["a", " ", "'b;'", '"c"', "`d`", "/* e */", "-- f\n", "+", "("]), max_size=12))
def test_code_holds_each_piece_that_is_code_and_a_blank_for_every_other(pieces):
    blank = {"'b;'": " ", '"c"': " ", "`d`": " ", "/* e */": " ", "-- f\n": " \n"}
    assert code_of("".join(pieces)) == "".join(blank.get(piece, piece) for piece in pieces)
