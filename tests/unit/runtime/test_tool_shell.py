from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.core.shell import MAX_ARGUMENTS, MAX_COMMAND_CHARACTERS, plain_command, shell_holds
from agent_runtime.core.shell_programs import runs_something_else

GROUPS = yaml.safe_load((Path(__file__).parents[2] / "data" / "attacks" / "shell.yaml").read_text(encoding="utf-8"))


def cases(kind):
    return [(group["programs"], argument) for group in GROUPS for argument in group[kind]]


def test_the_list_is_long_enough():
    assert len(cases("attacks")) >= 60
    assert len(cases("benign")) >= 40


@pytest.mark.parametrize(("programs", "argument"), cases("attacks"))
def test_an_attack_does_not_pass(programs, argument):
    assert not shell_holds(argument, programs)


@pytest.mark.parametrize(("programs", "argument"), cases("benign"))
def test_an_honest_command_passes(programs, argument):
    assert shell_holds(argument, programs)


def test_sizes_are_bounded():
    assert plain_command("ls " + "a" * (MAX_COMMAND_CHARACTERS - 3)) is not None
    assert plain_command("ls " + "a" * MAX_COMMAND_CHARACTERS) is None
    assert plain_command("ls" + " a" * MAX_ARGUMENTS) is None


def test_as_many_words_as_allowed_pass():
    assert len(plain_command("ls" + " a" * (MAX_ARGUMENTS - 1)) or ()) == MAX_ARGUMENTS


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("ls\t-a  b ", ("ls", "-a", "b")),
        ("ls '' \"\"", ("ls", "", "")),
        ("ls a'b'\"c\"\\d", ("ls", "abcd")),
        ("ls 'a\tb' \"c\td\"", ("ls", "a\tb", "c\td")),
        ("'' ls", None),
        ("ls a=b", ("ls", "a=b")),
        ("a=b ls", None),
        (r"a\=b ls", None),
        (r'ls "\$a" "\`b" "\\c" "\"d"', ("ls", "$a", "`b", r"\c", '"d')),
        (r'ls "\!a"', None),
        (r'ls "a\b"', ("ls", r"a\b")),
        (r"ls \$a\ \;", ("ls", "$a ;")),
        ("ls \\", None),
        (r"ls \ä", None),
        ("ls \\\n", None),
        ('ls "a! b" "c!"', ("ls", "a! b", "c!")),
        ('ls "a!b"', None),
        ("ls 'a!b'", ("ls", "a!b")),
        ('ls "a$b"', None),
        ("ls '$a`b'", ("ls", "$a`b")),
        ('ls "a', None),
        ("ls 'a", None),
        ('ls "a!', None),
        ("ls a~ 'b'~", ("ls", "a~", "b~")),
        ("ls ~a", None),
        ("ls ''~a", None),
        ("ls a=~", None),
        ("ls a:~", None),
        (r"ls \~a '~b'", ("ls", "~a", "~b")),
        ("ls größe 漢字", ("ls", "größe", "漢字")),
        ("ls €", None),
        ("ls '€ ½'", None),
        ("ls '€ →'", ("ls", "€ →")),
        ('ls "€"', ("ls", "€")),
        ("ls '\uff01'", None),
        ("ls '\u00a0'", None),
        ("ls '\x7f'", None),
        ("ls '\x1f'", None),
        ("ls '\n'", None),
        ("ls '\u200b'", None),
        ("ls \uff41", None),
    ],
)
def test_a_command_is_read_into_the_words_that_every_shell_reads(command, argv):
    assert plain_command(command) == argv


VISIBLE = [chr(code) for code in range(0x21, 0x7F)]


@pytest.mark.parametrize("character", [character for character in VISIBLE if character != "\\"])
def test_a_character_outside_of_quotes_stands_for_itself_or_is_refused(character):
    plain = character.isalnum() or character in "_-./+,:=@%^~"
    assert plain_command(f"ls a{character}b") == (("ls", f"a{character}b") if plain else None)
    assert plain_command(f"ls \\{character}") == ("ls", character)


@pytest.mark.parametrize("character", VISIBLE)
def test_a_backslash_in_double_quotes_stands_for_itself_unless_it_must_not(character):
    word = character if character in '"\\$`' else f"\\{character}"
    assert plain_command(f'ls "\\{character}."') == (None if character == "!" else ("ls", f"{word}."))


@pytest.mark.parametrize("character", VISIBLE)
def test_an_exclamation_mark_in_double_quotes_stands_before_no_character(character):
    assert plain_command(f'ls "!{character}."') is None


def argv_of_bash(command: str, folder: Path) -> tuple[str, ...]:
    """What bash passes to a program: the first word is replaced by a function, the rest is left to bash."""
    script = f"words() {{ printf '%s\\0' \"$@\"; }}\nwords {command}\n"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        check=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/h"},
    )
    return tuple(part.decode() for part in done.stdout.split(b"\0")[:-1])


PIECES = st.sampled_from(
    ["ls", "a", "b.c", " ", "  ", "\t", "'", '"', "\\", "\\'", '\\"', "\\\\", "$x", "$(id)", "`id`", "*", "?", "[a]",
     "{a,b}", "~", "=", ":", "!", "#", ";", "|", "&", "<", ">", "(", ")", "\n", "-x", "%1", "^", "@", "ä", "/",
     "..", ",", "+"]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=10).map("".join))
@settings(max_examples=400, deadline=None)
def test_bash_reads_what_passes_as_the_same_words(tmp_path_factory, command):
    argv = plain_command(command)
    if argv is not None:
        assert argv_of_bash(command, tmp_path_factory.getbasetemp()) == argv


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12), min_size=1, max_size=5))
def test_quoted_words_are_read_as_they_were_written(words):
    words = ["ls", *words]

    assert plain_command(" ".join(map(shlex.quote, words))) == tuple(words)


OPERATORS = st.sampled_from(
    [";", "|", "&", "&&", "||", "\n", "$(", "`", ">", "<", ">>", "<(", "(", ")", "|&", "\r\n", "\uff1b"]
)
BLANKS = st.sampled_from(["", " ", "\t", "  "])


@given(
    st.sampled_from(["ls", "cat 'a b'", 'echo "x"', "grep a\\ b"]),
    BLANKS,
    OPERATORS,
    BLANKS,
    st.sampled_from(["id", "rm -rf /", ""]),
)
def test_a_command_with_an_operator_outside_of_quotes_never_passes(first, before, operator, after, second):
    assert not shell_holds(f"{first}{before}{operator}{after}{second}", ["ls", "cat", "echo", "grep"])


@given(
    st.sampled_from(
        [("find", ".", "-exec", "id"), ("tar", "--to-command=id", "-xf", "x"), ("git", "-c", "a=b", "log"),
         ("env", "ls"), ("python3", "-c", "1"), ("sort", "--compress-program=id"), ("ssh", "-oProxyCommand=id", "h")]
    ),
    st.data(),
)  # fmt: skip
def test_no_way_of_quoting_hides_an_option_that_runs_a_program(argv, data):
    quoting = st.sampled_from(
        [
            str,
            lambda w: f"'{w}'",
            lambda w: f'"{w}"',
            lambda w: "".join(f"\\{c}" for c in w),
            lambda w: f"{w[:1]}''{w[1:]}",
        ]
    )

    command = " ".join(data.draw(quoting)(word) for word in argv)

    assert plain_command(command) == argv
    assert runs_something_else(argv)
