"""`agentctl run` before the agent serves: what is imported, what is missing, what is refused."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from agentctl.commands import RUN_HELP
from agentctl.errors import ExtraMissingError, ManifestError
from agentctl.local import run as local
from agentctl.local.manifest import read_bundle
from agentctl.local.named_texts import check_all_held
from agentctl.local.pod_folder import write_pod_folder
from agentctl.text.terminal import Terminal
from tests.support.runtimes import free_port

REPOSITORY = Path(__file__).parents[3]
AGENT = {
    "apiVersion": "greylag.dev/v1alpha1",
    "kind": "AgentDeployment",
    "metadata": {"name": "support"},
    "spec": {"agent": {"instructions": "Be kind."}, "model": {"name": "m", "baseURL": "http://127.0.0.1:9/v1"}},
}
INSTALL = "pip install '.[local,cli]' in a checkout of Greylag"
SECONDS = 60

HIDE = """
import importlib.abc, importlib.machinery, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Hide())
"""
MAIN = "from agentctl.__main__ import main; sys.argv = ['agentctl', *sys.argv[1:]]; main()"


def python(code, *arguments, stdin="", **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/operator", **environment},
    )


def serve(path, port=1024, err=None):
    local.run_locally(path, port, Terminal(io.StringIO(), err or io.StringIO()))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(AGENT))
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["task", "--help"], ["version"]], ids=" ".join)
def test_help_imports_nothing_of_the_runtime(arguments):
    code = f"import sys\ntry:\n    {MAIN}\nfinally:\n    print(sorted(sys.modules), file=sys.stderr)"
    done = python(code, *arguments)
    assert done.returncode == 0
    loaded = {name.partition(".")[0] for name in yaml.safe_load(done.stderr)}
    assert "agentctl" in loaded
    assert not loaded & {
        "agent_runtime",
        "agent_operator",
        "kubernetes",
        "openai",
        "fastapi",
        "redis",
        "cel_expr_python",
    }


def test_a_runtime_that_is_not_installed_says_what_to_install(file):
    done = python(HIDE.format(module="fastapi") + MAIN, "run", "-f", str(file))
    assert done.returncode == 1
    assert done.stderr == f"error: `agentctl run` needs the package fastapi: {INSTALL}\n"


@pytest.mark.parametrize("module", local.STORE_MODULES)
def test_a_store_that_is_not_installed_says_what_to_install(file, monkeypatch, module):
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(ExtraMissingError) as refused:
        serve(file)
    assert str(refused.value) == f"`agentctl run` needs the package {module}: {INSTALL}"


def test_the_runtime_is_imported_within_two_seconds_of_cpu():
    code = (
        "from agentctl.__main__ import _import_runtime; _import_runtime()\n"
        "import gc, resource\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    )
    # A busy machine can make one measurement worse, and never better.
    assert any(float(python(code).stdout) <= 2.0 for _ in range(3))


def test_a_port_that_is_taken_is_told(file):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ManifestError) as refused:
            serve(file, port)
    assert str(refused.value) == f"--port {port}: Address already in use; choose another"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ManifestError, match=r"absent.yaml: No such file or directory; name a YAML file"):
        serve(tmp_path / "absent.yaml")


def test_a_dash_reads_the_agent_from_standard_input():
    agent = yaml.safe_dump({**AGENT, "spec": {**AGENT["spec"], "modle": 1}})
    done = python("import sys; " + MAIN, "run", "-f", "-", stdin=agent)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard input: spec.modle: is no field; did you mean model?")


def test_a_closed_standard_input_is_told():
    done = python("import sys; sys.stdin = None; " + MAIN, "run", "-f", "-")
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard input: is closed; name a YAML file with an AgentDeployment\n",
    )


def test_the_example_of_the_help_can_be_run_as_it_stands():
    (example,) = re.findall(r"agentctl run -f (\S+\.yaml)", RUN_HELP)
    check_all_held(read_bundle(REPOSITORY / example), spare_key=False)


@pytest.fixture
def notes(file, monkeypatch):
    """What is said of an agent before it serves."""

    def told(*documents):
        file.write_text(yaml.safe_dump_all(documents))
        monkeypatch.setattr(local, "serve", lambda *_arguments, **_options: None)
        err = io.StringIO()
        serve(file, free_port(), err)
        return err.getvalue().splitlines()

    return told


def test_what_was_surely_not_meant_is_told_before_it_serves(notes):
    spec = {**AGENT["spec"], "access": {}}
    assert notes({**AGENT, "spec": spec}) == [
        "note: spec.access: lets everybody in who reaches the agent, as it has neither apiKeysSecretRef nor jwt"
    ]
    assert notes(AGENT) == []


def test_a_model_whose_price_is_not_known_is_told_where_money_is_limited(notes):
    model = AGENT["spec"]["model"]
    priced = {**model, "name": "dear", "price": {"inputPerMillion": "1", "outputPerMillion": "1"}}
    spec = {**AGENT["spec"], "fallback": [priced, {**model, "name": "other"}]}
    never = "is never asked, as spec.budgets limits money and its price is not known; set"
    assert notes({**AGENT, "spec": {**spec, "budgets": {"daily": {"costUSD": "1"}}}}) == [
        f"note: spec.model: m {never} spec.model.price",
        f"note: spec.fallback[1]: other {never} spec.fallback[1].price",
    ]
    assert notes({**AGENT, "spec": {**spec, "budgets": {"perRequest": {"tokens": 9}}}}) == []


def test_a_wrong_variable_of_the_environment_is_told(file, monkeypatch):
    monkeypatch.setenv("GREYLAG_TASK_CONCURRENCY", "many")
    with pytest.raises(ManifestError, match=r"^environment GREYLAG_\*: task_concurrency: "):
        serve(file)


@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
)
def test_a_signal_while_secrets_are_written_comes_after_them_and_they_are_gone(
    tmp_path, file, monkeypatch, number, end
):
    written = []

    def write(*arguments):
        signal.raise_signal(number)
        written.append(write_pod_folder(*arguments))
        assert written[0].document.exists()
        return written[0]

    monkeypatch.setattr(local, "write_pod_folder", write)
    monkeypatch.setattr(local, "serve", lambda *_arguments, **_options: pytest.fail("it serves"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Whoever runs the tests may have them ignore it, which the command respects.
    heard = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        with pytest.raises(end):
            serve(file, free_port())
    finally:
        signal.signal(number, heard)
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_signals_are_handled_as_before_when_it_has_failed(tmp_path, file, monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    monkeypatch.setenv("GREYLAG_TASK_CONCURRENCY", "many")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ManifestError):
        serve(file)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
    assert list(tmp_path.iterdir()) == [file]
