"""Processes are recognised by more than their pid."""

import json
import os
import signal
import subprocess
from dataclasses import replace

import pytest

from devcluster.errors import DevclusterError
from devcluster.process import (
    ProcessIdentity,
    identify,
    is_alive,
    parse_stat,
    program_environment,
    read_pid_file,
    run,
    send,
    spawn,
    stop,
    wait_until,
    write_pid_file,
)


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait(10)


def test_stat_is_parsed_past_a_name_with_blanks_and_brackets():
    fields = ["S", *map(str, range(4, 53))]
    assert parse_stat(f"12 (a) b (c)) {' '.join(fields)}") == ("S", 22)


def test_a_later_process_with_the_same_pid_is_another(sleeper):
    identity = identify(sleeper.pid)
    assert is_alive(identity)
    assert not is_alive(replace(identity, start_ticks=identity.start_ticks + 1))
    assert not is_alive(replace(identity, boot_id="another boot"))


def test_another_process_with_the_same_pid_gets_no_signal(sleeper):
    identity = identify(sleeper.pid)
    send(replace(identity, start_ticks=identity.start_ticks - 1), signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_zombie_is_not_alive():
    process = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identify(process.pid) is None
    finally:
        process.wait(10)


def test_pid_file_names_the_living_process_only(sleeper, tmp_path):
    path = tmp_path / "a.pid"
    write_pid_file(path, identify(sleeper.pid))
    assert read_pid_file(path) == identify(sleeper.pid)
    sleeper.kill()
    sleeper.wait(10)
    assert read_pid_file(path) is None


@pytest.mark.parametrize("content", ["", "12", "{}", '{"pid": 1}', "null"])
def test_a_damaged_pid_file_names_nothing(content, tmp_path):
    path = tmp_path / "a.pid"
    path.write_text(content, encoding="utf-8")
    assert read_pid_file(path) is None


def test_a_started_program_is_recorded_writes_its_log_and_ends(tmp_path):
    script = 'trap "" TERM; echo of $GREYLAG_DEVCLUSTER_PROGRAM_OF; exec sleep 60'
    identity = spawn(["sh", "-c", script], tmp_path / "log", tmp_path / "a.pid", "c")
    try:
        assert ProcessIdentity(**json.loads((tmp_path / "a.pid").read_text(encoding="utf-8"))) == identity
        assert wait_until((tmp_path / "log").read_text, 10)
    finally:
        stop([identity], grace_seconds=0.2)
    assert not is_alive(identity)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "of c\n"


def test_programs_see_neither_proxies_nor_keys():
    environment = {"PATH": "/bin", "HOME": "/h", "HTTPS_PROXY": "x", "no_proxy": "y", "OPENAI_API_KEY": "k"}
    assert program_environment(environment) == {"PATH": "/bin:/usr/sbin:/sbin", "HOME": "/h"}


def test_a_failed_command_shows_what_it_said():
    with pytest.raises(DevclusterError, match=r"failed \(3\): no luck"):
        run(["sh", "-c", "echo no luck >&2; exit 3"])


def test_a_missing_command_names_the_way_out():
    with pytest.raises(DevclusterError, match="devcluster packages"):
        run(["there-is-no-such-program"])


def test_a_slow_command_is_ended():
    with pytest.raises(DevclusterError, match=r"more than 0\.1 s"):
        run(["sleep", "20"], timeout=0.1)
