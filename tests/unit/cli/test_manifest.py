"""A file with an agent and what it names: what is read, and how each fault is told."""

from __future__ import annotations

import base64
import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentctl.errors import ManifestError
from agentctl.local.manifest import read_bundle
from tests.support.catalogue import CATALOGUE, changed

DATA = Path(__file__).parents[2] / "data"
SECRET = "sk-very-secret"
AGENT: dict[str, Any] = {
    "apiVersion": "greylag.dev/v1alpha1",
    "kind": "AgentDeployment",
    "metadata": {"name": "support"},
    "spec": {
        "agent": {"instructions": "Be kind."},
        "model": {
            "name": "m",
            "baseURL": "http://127.0.0.1:9/v1",
            "apiKeySecretRef": {"name": "openai", "key": "api-key"},
        },
    },
}


def agent(**metadata):
    return {**AGENT, "metadata": {"name": "support", **metadata}}


def held(kind, data, **parts):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "openai"}, "data": data, **parts}


@pytest.fixture
def read(tmp_path):
    def write_and_read(*documents):
        path = tmp_path / "agent.yaml"
        path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        return read_bundle(path)

    return write_and_read


@pytest.fixture
def refusal(read, tmp_path):
    """What is said of documents, without the file's name in front."""

    def refused(*documents):
        with pytest.raises(ManifestError) as error:
            read(*documents)
        text = str(error.value)
        assert text.startswith(f"{tmp_path}/agent.yaml: ")
        return text.removeprefix(f"{tmp_path}/agent.yaml: ")

    return refused


def test_texts_come_from_config_maps_and_from_both_parts_of_secrets(read):
    encoded = base64.b64encode(b"from data").decode()
    bundle = read(
        agent(namespace="team-a"),
        held("ConfigMap", {"api-key": "text"}),
        held(
            "Secret", {"api-key": encoded, "other": f"{encoded[:4]}\n{encoded[4:]}\n"}, stringData={"api-key": "wins"}
        ),
    )
    assert (bundle.name, bundle.namespace) == ("support", "team-a")
    assert bundle.texts == {
        ("ConfigMap", "openai", "api-key"): "text",
        ("Secret", "openai", "api-key"): "wins",
        ("Secret", "openai", "other"): "from data",
    }
    assert bundle.entries("openai") == {"api-key": "wins", "other": "from data"}


def test_objects_of_other_kinds_are_left_alone(read):
    assert read({"kind": "Service", "metadata": {"name": "x"}}, AGENT, {"no": "kind"}).texts == {}


@pytest.mark.parametrize(
    ("agents", "secrets", "found"),
    [("team-a", "team-b", False), ("team-a", "team-a", True), ("team-a", None, True), (None, "team-b", True)],
)
def test_a_secret_of_another_namespace_is_not_the_agents(read, agents, secrets, found):
    secret = {"kind": "Secret", "metadata": {"name": "s", "namespace": secrets}, "stringData": {"k": "v"}}
    assert bool(read(agent(namespace=agents), secret).texts) is found


def test_texts_are_in_no_representation(read):
    assert SECRET not in repr(read(AGENT, held("Secret", None, stringData={"api-key": SECRET})))


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([], "holds 0 objects of kind AgentDeployment; one is needed"),
        ([AGENT, agent(name="sales")], "holds 2 objects of kind AgentDeployment (support, sales); one is needed"),
        ([{**AGENT, "apiVersion": "greylag.dev/v2"}], "apiVersion: must be greylag.dev/v1alpha1"),
        ([{**AGENT, "metadata": {}}], "metadata.name: is missing"),
        ([{**AGENT, "metadata": ["x"]}], "metadata.name: is missing"),
        ([{**AGENT, "metadata": {"name": 7}}], "metadata.name: is missing or no text"),
        ([{**AGENT, "spec": {}}], "spec.agent: Field required; spec.model: Field required"),
        ([{**AGENT, "spec": None}], "spec: "),
        ([agent(name="Support")], "metadata.name must be a DNS-1035 label"),
        (
            [AGENT, held("Secret", {"api-key": "not base64!"})],
            "Secret openai: data.api-key: is not base64; a plain text",
        ),
        ([AGENT, held("Secret", {"api-key": "/w=="})], "Secret openai: data.api-key: is no text in UTF-8"),
        (
            [AGENT, held("Secret", {"api-key": 7})],
            "Secret openai: data.api-key: must be a text; put the value in quotes",
        ),
        ([AGENT, held("Secret", None, stringData={"k": True})], "Secret openai: stringData.k: must be a text"),
        ([AGENT, held("ConfigMap", ["x"])], "ConfigMap openai: data: must be a map of texts"),
        (
            [AGENT, held("Secret", None, stringData={"../../etc/x": "y"})],
            "Secret openai: stringData: key '../../etc/x'",
        ),
        ([AGENT, held("Secret", None, stringData={"..": "y"})], "Secret openai: stringData: key '..'"),
        ([AGENT, held("Secret", None, stringData={7: "y"})], "Secret openai: stringData: key '7'"),
        ([AGENT, {"kind": "Secret", "stringData": {}}], "Secret: metadata.name is missing"),
        ([AGENT, {"kind": "Secret", "metadata": "x"}], "Secret: metadata.name is missing"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_each_fault_names_its_place_and_the_way_out(refusal, documents, said):
    assert said in refusal(*documents)


def test_wrong_fields_are_named_without_their_values_and_not_all_of_them(refusal):
    document = copy.deepcopy(AGENT)
    document["spec"]["model"] |= {f"extra{n}": SECRET for n in range(7)}
    document["spec"]["budgets"] = {"daily": {"costUSD": 0.5}}
    said = refusal(document)
    assert "spec.model.extra0: is no field; there are: name, baseURL, apiKeySecretRef" in said
    assert said.endswith("and 3 more")
    assert SECRET not in said


def test_a_number_in_place_of_a_text_is_told_to_be_quoted(refusal):
    document = copy.deepcopy(AGENT)
    document["spec"]["budgets"] = {"daily": {"costUSD": 0.5}}
    assert refusal(document) == (
        "spec.budgets.daily.costUSD: must be a text; put it in quotes: a decimal number of US dollars without sign,"
        " at most 6 decimals, such as 0.05"
    )


def test_a_field_is_known_by_its_name_of_the_wire_alone(refusal):
    document = copy.deepcopy(AGENT)
    document["spec"]["model"]["base_url"] = document["spec"]["model"].pop("baseURL")
    assert refusal(document).startswith("spec.model.base_url: is no field; did you mean baseURL?")


def test_a_date_is_a_text_as_it_is_for_kubectl(read):
    bundle = read(yaml.safe_load(yaml.safe_dump(AGENT).replace("Be kind.", "2026-01-02")))
    assert bundle.agent.spec.agent.instructions == "2026-01-02"


def test_objects_without_entries_are_known(read):
    bundle = read(AGENT, held("Secret", {}), held("ConfigMap", {"k": "v"}))
    assert bundle.empty == {("Secret", "openai")}


ONLY_KUBERNETES = {
    "isURL": r"(baseURL|url)$",
    "quantities and affinity, which place pods": r"^spec\.runtime\.(resources\.requests|pod\.affinity)",
    "macros of two variables": r"^spec\.rollout\.canary\.steps(\[0\]\.setWeight)?$",
    "null, which is as good as unset here": r"\.extra$",
}
"""Why a manifest that the API server refuses may pass here, and the fields of which that is true."""


def test_what_the_api_server_refuses_is_refused_here_too(read):
    passed = []
    for entry in CATALOGUE["bad"]:
        try:
            read(changed(CATALOGUE["base"], entry))
        except ManifestError:
            continue
        passed.append(entry.get("set") or entry["remove"])
    unexplained = [path for path in passed if not any(re.search(known, path) for known in ONLY_KUBERNETES.values())]
    assert unexplained == []
    assert len(passed) < 20


def test_the_accepted_manifest_of_the_catalogue_is_accepted_here_too(read):
    assert read(CATALOGUE["base"]).name == "support"
