"""The examples are what the models accept, each says what it is for, and the reference is up to date."""

from pathlib import Path

import pytest
import yaml

from agent_api.change_kinds import CHANGE_KINDS
from agent_api.reference import field_rows, main
from agent_api.v1alpha1.agent import AgentDeployment
from agent_api.v1alpha1.rollout import DEFAULT_STEPS, Stickiness
from agentctl.local.manifest import read_bundle
from agentctl.local.pod_folder import write_pod_folder

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/agent.yaml"))


def _agent(path: Path) -> AgentDeployment:
    return AgentDeployment.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_is_a_valid_agent(path):
    assert _agent(path).kind == "AgentDeployment"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_explains_itself_in_one_paragraph(path):
    title, paragraph = (path.parent / "README.md").read_text(encoding="utf-8").strip().split("\n\n")
    assert title.startswith("# ")
    assert len(paragraph) > 200


def test_minimal_example_gets_the_default_rollout():
    spec = _agent(REPOSITORY / "examples/01-minimal/agent.yaml").spec
    assert spec.rollout.canary.steps == DEFAULT_STEPS
    assert spec.rollout.canary.stickiness is Stickiness.CONVERSATION


def test_local_example_runs_without_a_cluster_or_a_key(tmp_path):
    folder = write_pod_folder(read_bundle(REPOSITORY / "examples/05-local/agent.yaml"), tmp_path, {})
    assert (folder.positions, folder.api_keys, folder.notes) == ((), None, ())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_passes_the_checks_of_a_run_without_a_cluster(path):
    assert read_bundle(path).name == _agent(path).metadata["name"]


def test_reference_is_up_to_date():
    assert main(["--check", str(REPOSITORY / "docs/reference/agentdeployment.md")]) == 0


def test_check_of_the_reference_fails_when_the_page_is_missing(tmp_path, capsys):
    assert main(["--check", str(tmp_path / "page.md")]) == 1
    assert "page.md" in capsys.readouterr().err


def test_reference_names_every_part_of_the_table_of_changes():
    paths = {row.path for row in field_rows("spec")}
    assert set(CHANGE_KINDS) <= paths
