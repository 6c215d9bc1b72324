"""Attacks on commands that others wrote, and honest commands from others."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from agent_runtime.core.shell import plain_command, shell_holds
from tests.integration.attacks.corpora import PLANTED, honest_commands, programs_that_run_others, shell_attacks
from tests.integration.attacks.shell_oracle import FakeShell

PROGRAMS = ["ls", "cat", "grep", "id", "env", "git", "find", "python3", "curl", "nc", "awk", "sed", "tar", "bash", "sh"]
ROLES = ("{}", "ls {}", "ls '{}", "ls '{}'", 'ls "{}"', "grep -n {} notes.txt")
MIN_ATTACKS = 200
MIN_PROGRAMS = 200
MIN_HONEST = 300

RUN_SOMETHING = re.compile(r".*shell|command|library-load|capabilities")
"""What GTFOBins calls it when a program runs another one or loads code."""

A_SHELL = re.compile(r"\bsh\b")
WITH_ITS_PROGRAM = re.compile(rf"\bsh\b|{PLANTED}|\.so\b")
"""A line that itself names what is to be run."""

RUN_OR_WRITE = (
    *("alias", "apt-get", "curl", "docker", "dpkg", "export", "gdb", "git", "less", "more", "nc", "nmap", "npm"),
    *("openssl", "perl", "php", "pip", "psql", "python", "scp", "screen", "sed", "socat", "ssh", "su", "systemctl"),
    *("tcpdump", "tmux", "vagrant", "wget"),
)
"""Programs of which the cheat sheets show how to run others, to change the machine or to write files."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    return FakeShell.of(tmp_path_factory.mktemp("shell"), PROGRAMS)


@pytest.fixture(scope="module")
def attacks(packages):
    return shell_attacks(packages)


@pytest.fixture(scope="module")
def examples(packages):
    return list(programs_that_run_others(packages))


def test_there_are_enough_attacks(attacks, examples):
    assert len(attacks) >= MIN_ATTACKS
    assert len({program for program, *_ in examples}) >= MIN_PROGRAMS


@pytest.mark.parametrize("role", ROLES)
def test_real_shells_see_one_program_and_the_same_words_in_what_passes(attacks, shell, role):
    commands = [role.replace("{}", attack) for attack in attacks]
    for command in filter(lambda command: shell_holds(command, PROGRAMS), commands):
        assert shell.started_by(command) == [plain_command(command)]
        assert shell.started_by_posix(command) == [plain_command(command)]


def test_no_program_of_gtfobins_becomes_a_shell_by_a_whole_example(examples):
    passed = [
        (program, code) for program, function, code, _ in examples if RUN_SOMETHING.fullmatch(function)
        and WITH_ITS_PROGRAM.search(code) and shell_holds(code, [program])
    ]  # fmt: skip
    assert passed == []


def test_no_program_of_gtfobins_becomes_a_shell_by_one_line(examples):
    passed = []
    for program, function, _, lines in examples:
        given_away = WITH_ITS_PROGRAM if RUN_SOMETHING.fullmatch(function) else A_SHELL
        for line, following in pairwise([*lines, ""]):
            at_the_keyboard = following.startswith(("!", ":", "^"))
            # An interpreter may be given a file: that it is one is said by whoever allows it.
            script = line == f"{program} {PLANTED}"
            if given_away.search(line) and not at_the_keyboard and not script and shell_holds(line, [program]):
                passed.append(line)
    assert passed == []


def test_honest_commands_of_programs_that_only_look_pass(packages):
    honest = [(program, line) for program, line in honest_commands(packages) if program not in RUN_OR_WRITE]
    assert len(honest) >= MIN_HONEST
    assert [line for program, line in honest if not shell_holds(line, [program])] == []


@pytest.mark.parametrize("command", ["ls; id", "ls $(id)", "ls | cat", "ls *", "ls\nid", "ls > x", "ls {a,b}", "ls ~"])
def test_the_oracle_sees_more_than_plain_words(shell, command):
    (shell.folder / "empty" / "a").touch()
    assert shell.started_by(command) != [tuple(command.split(" "))]
