"""An upgrade of the operator restarts nothing: what it makes of the same spec stays the same, byte by byte.

If a test here fails, do not renew the golden file: keep what was, or bring the change in through a new version.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.resources.gateway import make_gateway_record, recorded_template
from agent_operator.core.resources.metadata import make_metadata, make_owner
from agent_operator.core.resources.record import (
    RecordUnreadableError,
    make_record,
    read_first_overlay,
    read_record,
)
from agent_operator.core.resources.workload import (
    lay_over,
    make_deployment,
    make_disruption_budget,
    make_overlay,
    make_revision_service,
    overlay_text,
    read_overlay,
)
from tests.support.agents import installation, record_of

REPOSITORY = Path(__file__).parents[3]
DATA = Path(__file__).parent / "data"
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]["spec"]
OWNER = make_owner("support", "uid-1")


def spec_of(key):
    if key == "full":
        return AgentDeploymentSpec.model_validate(FULL)
    text = (REPOSITORY / "examples" / key / "agent.yaml").read_text(encoding="utf-8")
    return AgentDeploymentSpec.model_validate(yaml.safe_load(text)["spec"])


def objects_of(key):
    """Everything that the operator writes for one revision."""
    spec = spec_of(key)
    record, overlay = record_of(spec, "You answer."), make_overlay(spec)
    return {
        "record": make_record(record, overlay, "support", "team-a", OWNER),
        "deployment": make_deployment(
            make_metadata(record.name, "team-a", {}, OWNER), record.name, record.template, overlay, 2
        ),
        "service": make_revision_service("support", record.name, "team-a", OWNER),
        "budget": make_disruption_budget("support", record.name, "team-a", OWNER),
    }


@pytest.mark.parametrize("key", ["full", "01-minimal", "02-canary", "03-fallback"])
def test_what_is_made_of_a_spec_stays_the_same(key):
    golden = (DATA / f"objects-{key}.json").read_text(encoding="utf-8")
    assert json.dumps(objects_of(key), indent=1, sort_keys=True) + "\n" == golden


def test_the_recorded_bytes_stay_the_same():
    golden = json.loads((DATA / "objects-full.json").read_text(encoding="utf-8"))
    assert objects_of("full")["record"]["data"] == golden["record"]["data"]


def test_a_record_is_read_back_as_it_was_made():
    spec = spec_of("full")
    record, overlay = record_of(spec, "You answer."), make_overlay(spec)
    config_map = make_record(record, overlay, "support", "team-a", OWNER)
    assert read_record(config_map) == record
    assert read_first_overlay(config_map) == overlay
    assert config_map["immutable"] is True


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"document.json": "{}", "template.json": "{}"},
        {"document.json": "nonsense", "template.json": "{}"},
    ],
)
def test_a_config_map_that_is_no_record_is_refused_by_name(data):
    with pytest.raises(RecordUnreadableError, match="ConfigMap other"):
        read_record({"metadata": {"name": "other"}, "data": data})


def test_a_record_without_data_is_refused():
    with pytest.raises(RecordUnreadableError):
        read_record({"metadata": {"name": "other"}})


def test_a_damaged_template_is_refused():
    config_map = objects_of("full")["record"]
    config_map["data"]["template.json"] = "{"
    with pytest.raises(RecordUnreadableError):
        read_record(config_map)


# Overlay.


def test_secrets_are_mounted_by_position_and_optional():
    overlay = make_overlay(spec_of("full"))
    template = record_of(spec_of("full"), "x").template
    before = json.dumps(template)
    pod = lay_over(template, overlay)["spec"]
    assert json.dumps(template) == before
    positions = sorted(overlay["secrets"], key=int)
    names = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"] if "value" in entry}
    assert names["GREYLAG_CREDENTIALS"] == ",".join(positions)
    for position in positions:
        volume = next(entry for entry in pod["volumes"] if entry["name"] == f"credential-{position}")
        mount = next(e for e in pod["containers"][0]["volumeMounts"] if e["name"] == f"credential-{position}")
        assert volume["secret"]["optional"] is True
        assert volume["secret"]["secretName"] == overlay["secrets"][position]["name"]
        assert volume["secret"]["items"] == [{"key": overlay["secrets"][position]["key"], "path": "api-key"}]
        assert (mount["mountPath"], mount["readOnly"]) == (f"/var/run/greylag/credentials/{position}", True)


def test_positions_are_those_of_the_endpoints_also_when_some_have_no_secret():
    spec = AgentDeploymentSpec.model_validate(
        {
            "agent": {"instructions": "x"},
            "model": {"name": "m", "baseURL": "https://m.example"},
            "fallback": [
                {"name": "f", "baseURL": "https://f.example", "apiKeySecretRef": {"name": "s", "key": "k"}},
            ],
        }
    )
    overlay = make_overlay(spec)
    assert overlay == {"version": 1, "secrets": {"1": {"name": "s", "key": "k"}}, "placement": {}}
    assert read_overlay(overlay_text(overlay)) == overlay


def test_placement_is_laid_over_the_pod():
    overlay = {"version": 1, "secrets": {}, "placement": {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "p"}}
    pod = lay_over(record_of(spec_of("01-minimal"), "x").template, overlay)["spec"]
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"disk": "ssd"}, "p")


def test_pods_pass_restricted():
    pod = objects_of("full")["deployment"]["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


def test_an_image_and_resources_of_the_spec_go_before_those_of_the_installation():
    assert record_of(spec_of("01-minimal"), "x").template["spec"]["containers"][0]["image"] == "runtime:1"
    spec = spec_of("01-minimal")
    own = spec.model_copy(update={"runtime": spec.runtime.model_copy(update={"image": "mine:2"})})
    assert record_of(own, "x").template["spec"]["containers"][0]["image"] == "mine:2"
    resources = record_of(spec_of("01-minimal"), "x").template["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "50m"}}


# The gateway.


def test_the_gateway_is_recorded_and_read_back():
    record = make_gateway_record("team-a", installation())
    assert recorded_template(record) == json.loads(record["data"]["template.json"])
    assert record["data"]["version"] == "1"
    assert recorded_template(record)["spec"]["initContainers"][0]["restartPolicy"] == "Always"
