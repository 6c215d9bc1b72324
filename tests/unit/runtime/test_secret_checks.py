"""What tells a password or key from what merely stands where one would."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.secret_checks import (
    authorization,
    basic_credentials,
    email,
    joined_password,
    keyed_secret,
    looks_random,
    quoted_password,
    random_key,
    spaced_password,
    url_password,
    user_password,
)

NOTHING_SAID = [
    "***", "xxxx", "XXX", "...", "-", "___", "[redacted:passwords]", "<password>", "<your", "${PASSWORD}", "$(pass)",
    "$PASSWORD", "{{ password }}", "%(password)s", "%s", "{password}", "{", "\u2022\u2022\u2022",
]  # fmt: skip
NO_VALUE = ["string", "none", "NULL", "true", "required,", "Optional]", "redacted.", "env;"]


@pytest.mark.parametrize(
    ("text", "random"),
    [
        ("a1b2c3d4e5", True),
        ("Zk3vR9pL1xT7qW5m", True),
        ("550e8400-e29b-41d4-a716-446655440000", True),
        ("", False),
        ("abcdefghijkl", False),
        ("123456789012", False),
        ("a1a1a1a1a1a1", False),
        ("hello-world-2024", False),
        ("version_v1.2.3", False),
        ("my/path/file1:part22~x+y=z%9", False),
        ("releaseCandidateNumber7", False),
        ("word-a1b2c3d4e5", True),
        ("a" * 64 + "1b2c3d4e5f6", False),
        ("a1b2c3d4e5" + "a" * 60, False),
    ],
)
def test_random_is_what_has_letters_and_digits_mixed_and_is_no_words_with_numbers(text, random):
    assert looks_random(text) is random


@pytest.mark.parametrize(("after", "length"), [("", 10), (" ", 10), ("(", None), ("[", None), ("{", 10)])
def test_a_key_that_is_called_or_indexed_is_a_name(after, length):
    assert random_key("a1b2c3d4e5", "", after) == length
    assert random_key("hello-world", "", after) is None


@pytest.mark.parametrize(
    ("value", "secret"),
    [("a1b2c3d4", True), ("a1b2c3d", False), ("abcdefgh", False), ("${a1b2c3d4}", False), ("<a1b2c3d4>", False)],
)
def test_the_value_of_a_key_is_secret_if_it_is_long_enough_and_random(value, secret):
    assert keyed_secret(value) is secret


@pytest.mark.parametrize(("text", "length"), [("a1", 2), ("abc", None), ("$TOKEN1", None), ("<token1>", None)])
def test_credentials_behind_authorization_are_any_with_a_digit(text, length):
    assert authorization(text, "", "") == length


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@given(st.text("abc:äé", max_size=60).map(lambda text: f"u:{text}"))
def test_basic_credentials_are_known_with_and_without_their_padding(text):
    whole = encoded(text.encode())[:200]
    if len(text.encode()) <= 96:
        assert basic_credentials(whole, "", "") == len(whole)
        assert basic_credentials(whole.rstrip("="), "", "") == len(whole.rstrip("="))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (encoded(b"user:pass"), True),
        (encoded(b"user pass"), False),
        (encoded(b"user:\x00pass"), False),
        (encoded(b"user:\xff\xfe"), False),
        (encoded(b"u:" + b"x" * 200), True),
        (encoded(b"u:" + b"x" * 200)[:-3], True),
        ("a", False),
        ("dXNl!XI6cGFzcw==", False),
        ("", False),
    ],
)
def test_basic_credentials_are_base64_of_printable_text_with_a_colon(text, found):
    assert basic_credentials(text, "", "") == (len(text) if found else None)


@pytest.mark.parametrize("text", NOTHING_SAID)
@pytest.mark.parametrize(
    "check", [quoted_password, joined_password, spaced_password, url_password, user_password, authorization]
)
def test_a_placeholder_is_no_secret_wherever_it_stands(check, text):
    assert check(text, "", "") is None


@pytest.mark.parametrize("text", NO_VALUE)
@pytest.mark.parametrize("check", [quoted_password, joined_password, spaced_password])
def test_a_word_of_a_form_or_a_type_is_no_password(check, text):
    assert check(text, "", "") is None


@pytest.mark.parametrize("check", [quoted_password, joined_password, spaced_password, url_password, user_password])
@pytest.mark.parametrize("text", ["hunter2", "s3cr3t!", "Tr0ub4dor&3", "$2b$12$Eix", "x1", "päss1"])
def test_what_nobody_would_write_but_as_a_password_is_one(check, text):
    assert check(text, "", "") == len(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("correct horse battery staple", True),
        ("the password is wrong", False),
        ("it must have eight letters.", False),
        ("must it have eight letters?", False),
        ("it must have eight letters", True),
        ("a secret, two, three", False),
        ("two words.", True),
        ("my passwort", True),
    ],
)
def test_a_sentence_about_passwords_in_quotes_is_none(text, found):
    assert quoted_password(text, "", "") == (len(text) if found else None)


CODE = ["get_password()", "vault.read(", "names[0]", "self.password", "os.environ.PASS,", "req?.body.pw", "args.pw)",
        "(a)", "[x", "{y", "<z", "/run/secrets/pw", "~/pw", "./pw", "../pw", "vault://a/b", "!ref"]  # fmt: skip


@pytest.mark.parametrize("text", CODE)
def test_what_names_a_value_elsewhere_is_no_password(text):
    assert joined_password(text, "", "") is None
    assert spaced_password(text, "", "") is None
    assert quoted_password(text, "", "") == (None if text in {"<z", "{y"} else len(text))


@pytest.mark.parametrize("text", ["password", "passwd", "my-secret", "db-credential", "pwd"])
def test_a_word_that_is_named_so_is_no_password(text):
    assert joined_password(text, "", "") is None
    assert spaced_password(text, "", "") is None


@pytest.mark.parametrize(
    ("text", "after", "joined", "spaced"),
    [
        ("letmein", "", True, True),
        ("letmein", "\n", True, True),
        ("letmein", "\r", True, True),
        ("letmein", " ", True, False),
        ("letmein", ",", False, False),
        ("let-me-in", " ", True, False),
        ("letmein)", "", False, False),
        ("letmein]", "", False, False),
        ("letmein}", "", False, False),
        ("letmein.", "", True, True),
        ("let_me", "", True, False),
        ("letmein7", ",", True, True),
        ("letmein7)", "", True, True),
        ("12", "", True, False),
        ("123", "", True, False),
        ("8+", "", True, False),
        ("9.", "", True, False),
        ("1234", "", True, True),
    ],
)
def test_a_plain_word_is_a_password_where_nothing_else_goes_on(text, after, joined, spaced):
    assert joined_password(text, "", after) == (len(text) if joined else None)
    assert spaced_password(text, "", after) == (len(text) if spaced else None)


@pytest.mark.parametrize("text", ["8080", "8080:80", "8080/tcp", "8080,9090", "staff", "wheel.", "//example.com"])
def test_a_port_a_group_or_an_address_is_no_password_of_a_user(text):
    assert user_password(text, "", "") is None


@pytest.mark.parametrize(
    ("text", "after", "found"),
    [
        ("bob@example.com", "", True),
        ("bob@example.com", ".", True),
        ("bob@example.com", "吧", True),
        ("bob@example.com", "1", False),
        ("bob@example.com", "x", False),
        ("bob@example.com", "_", False),
        ("bob@example.com", "@", False),
        ("git@github.com", "", False),
        ("logo@2x.png", "", False),
        ("logo@2x.JPEG", "", False),
        ("a@b.pngs", "", True),
        ("mygit@github.com", "", True),
    ],
)
def test_an_address_is_no_file_and_no_remote_and_ends_where_it_ends(text, after, found):
    assert email(text, "", after) == (len(text) if found else None)
