"""An upgrade of the operator restarts nothing: what it makes of the same spec stays the same, byte by byte.

If a test here fails, do not renew the golden file: keep what was, or bring the change in through a new version.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.resources.gateway import make_gateway_objects, make_gateway_template
from agent_operator.core.resources.metadata import make_metadata, make_owner
from agent_operator.core.resources.record import (
    RecordUnreadableError,
    make_record,
    read_first_overlay,
    read_record,
)
from agent_operator.core.resources.recorded import recorded_template
from agent_operator.core.resources.workload import (
    OVERLAY_ANNOTATION,
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
FIRST_RELEASE = yaml.safe_load((REPOSITORY / "tests/data/first_release.yaml").read_text(encoding="utf-8"))["spec"]
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]["spec"]
OWNER = make_owner("support", "uid-1")


def spec_of(key):
    if key in {"full", "first-release"}:
        return AgentDeploymentSpec.model_validate(FULL if key == "full" else FIRST_RELEASE)
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


@pytest.mark.parametrize("key", ["full", "01-minimal", "02-canary", "03-fallback", "04-tools-and-budgets"])
def test_what_is_made_of_a_spec_stays_the_same(key):
    golden = (DATA / f"objects-{key}.json").read_text(encoding="utf-8")
    assert json.dumps(objects_of(key), indent=1, sort_keys=True) + "\n" == golden


@pytest.mark.parametrize("key", ["first-release", "01-minimal", "02-canary", "03-fallback"])
def test_pods_of_a_record_of_the_first_release_stay_as_they_are(key):
    spec = spec_of(key)
    golden = json.loads((DATA / "first-release" / f"objects-{key}.json").read_text(encoding="utf-8"))
    record = read_record(golden["record"])
    place = make_metadata(record.name, "team-a", {}, OWNER)
    overlay = make_overlay(spec)
    assert read_first_overlay(golden["record"]) == overlay
    assert overlay_text(overlay) == golden["deployment"]["metadata"]["annotations"][OVERLAY_ANNOTATION]
    assert make_deployment(place, record.name, record.template, overlay, 2) == golden["deployment"]
    assert make_revision_service("support", record.name, "team-a", OWNER) == golden["service"]
    assert make_disruption_budget("support", record.name, "team-a", OWNER) == golden["budget"]


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


@pytest.mark.parametrize(
    "damage",
    [
        {"template.json": "[]"},
        {"template.json": '{"spec": {"containers": [], "volumes": []}}'},
        {"template.json": '{"spec": {"containers": [{"env": [], "volumeMounts": []}], "volumes": ["document"]}}'},
        {"overlay.json": "{"},
        {"overlay.json": '{"version": 1}'},
    ],
)
def test_a_record_made_by_hand_is_refused(damage):
    config_map = objects_of("full")["record"]
    config_map["data"] |= damage
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


def pod_of(spec, key="full"):
    return lay_over(record_of(spec_of(key), "x").template, make_overlay(spec))["spec"]


def volume_of(pod, name):
    return next(volume for volume in pod["volumes"] if volume["name"] == name)


def mount_of(pod, name):
    mount = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == name)
    assert mount["readOnly"] is True
    return mount["mountPath"]


def env_of(pod):
    return {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"] if "value" in entry}


def test_what_an_agent_does_not_use_is_not_in_its_overlay():
    assert make_overlay(spec_of("first-release")).keys() == {"version", "secrets", "placement"}
    assert make_overlay(spec_of("full")).keys() == {"version", "secrets", "placement", "headers", "apiKeys", "store"}


def test_secret_headers_are_mounted_by_the_positions_of_source_and_header():
    pod = pod_of(spec_of("full"))
    assert env_of(pod)["GREYLAG_HEADERS"] == "0-0,1-0,1-1"
    assert mount_of(pod, "headers") == "/var/run/greylag/headers"
    assert volume_of(pod, "headers")["projected"]["sources"] == [
        {"secret": {"name": name, "optional": True, "items": [{"key": key, "path": f"{position}/value"}]}}
        for position, name, key in [("0-0", "kb", "token"), ("1-0", "weather", "key"), ("1-1", "weather", "tenant")]
    ]


def test_positions_of_headers_are_in_the_order_of_numbers():
    overlay = {**make_overlay(spec_of("first-release")), "headers": {}}
    overlay["headers"] = {position: {"name": "s", "key": "k"} for position in ("10-0", "2-10", "2-9")}
    pod = lay_over(record_of(spec_of("01-minimal"), "x").template, overlay)["spec"]
    assert env_of(pod)["GREYLAG_HEADERS"] == "2-9,2-10,10-0"


def test_the_secret_of_api_keys_is_mounted_whole_and_optional():
    pod = pod_of(spec_of("full"))
    assert env_of(pod)["GREYLAG_API_KEYS_DIRECTORY"] == mount_of(pod, "api-keys") == "/var/run/greylag/api-keys"
    assert volume_of(pod, "api-keys")["secret"] == {"secretName": "support-keys", "optional": True}


def test_pods_mount_the_trial_store_unless_the_spec_names_another():
    trial = volume_of(pod_of(spec_of("first-release"), "first-release"), "store")
    items = [{"key": "url", "path": "url"}]
    assert trial["secret"] == {"secretName": "greylag-store", "optional": True, "items": items}
    pod = pod_of(spec_of("full"))
    assert [volume["name"] for volume in pod["volumes"]].count("store") == 1
    assert mount_of(pod, "store") == env_of(pod)["GREYLAG_STORE_DIRECTORY"] == "/var/run/greylag/store"
    assert volume_of(pod, "store")["projected"]["sources"] == [
        {"secret": {"name": "redis", "optional": True, "items": [{"key": "url", "path": "url"}]}},
        {"secret": {"name": "redis", "optional": True, "items": [{"key": "ca.pem", "path": "ca.pem"}]}},
    ]


def test_a_store_without_a_ca_mounts_its_url_alone():
    spec = parsed({"store": {"urlSecretRef": {"name": "redis", "key": "u"}}})
    sources = volume_of(pod_of(spec), "store")["projected"]["sources"]
    assert [source["secret"]["items"][0]["path"] for source in sources] == ["url"]


def test_the_live_document_is_mounted_as_a_folder_so_that_changes_arrive():
    pod = pod_of(spec_of("full"))
    live = volume_of(pod, "live")["configMap"]
    assert (live["name"], live["optional"]) == ("support-live", True)
    assert env_of(pod)["GREYLAG_LIVE"] == f"{mount_of(pod, 'live')}/live.json"
    assert "subPath" not in json.dumps(pod)


def parsed(fields):
    base = {"agent": {"instructions": "x"}, "model": {"name": "m", "baseURL": "https://m.example"}}
    return AgentDeploymentSpec.model_validate({**base, **fields})


PLAIN = {"version": 1, "secrets": {}, "placement": {}}
REFERENCE = {"name": "s", "key": "k"}


@pytest.mark.parametrize(
    "overlay",
    [
        PLAIN,
        PLAIN | {"headers": {"0-0": REFERENCE, "31-7": REFERENCE}},
        PLAIN | {"apiKeys": {"name": "s"}},
        PLAIN | {"store": {"url": REFERENCE}},
        PLAIN | {"store": {"url": REFERENCE, "ca": REFERENCE}},
    ],
)
def test_an_overlay_is_read_back_as_it_was_written(overlay):
    assert read_overlay(overlay_text(overlay)) == overlay


@pytest.mark.parametrize(
    "overlay",
    [
        [],
        None,
        {},
        {"version": 1, "secrets": {}},
        PLAIN | {"more": {}},
        PLAIN | {"placement": []},
        PLAIN | {"secrets": {"x": REFERENCE}},
        PLAIN | {"secrets": {"0": {"name": "s"}}},
        PLAIN | {"secrets": {"0": {"name": "s", "key": 1}}},
        PLAIN | {"secrets": {"\u0663": REFERENCE}},
        PLAIN | {"headers": []},
        PLAIN | {"headers": {"0": REFERENCE}},
        PLAIN | {"headers": {"0-../etc": REFERENCE}},
        PLAIN | {"headers": {"0-0": {"name": None, "key": "k"}}},
        PLAIN | {"headers": None},
        PLAIN | {"apiKeys": "s"},
        PLAIN | {"apiKeys": REFERENCE},
        PLAIN | {"store": {}},
        PLAIN | {"store": {"ca": REFERENCE}},
        PLAIN | {"store": {"url": "redis://x"}},
        PLAIN | {"store": {"url": REFERENCE, "password": REFERENCE}},
    ],
)
def test_an_overlay_that_was_edited_by_hand_is_not_read(overlay):
    assert read_overlay(json.dumps(overlay)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["0", "0-0", "name", "key", "url", "ca", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(PLAIN, JSON), optional=dict.fromkeys(["headers", "apiKeys", "store"], JSON)))
def test_what_is_read_as_an_overlay_can_be_laid_over_a_template(overlay):
    read = read_overlay(json.dumps(overlay))
    if read is not None:
        assert lay_over(record_of(spec_of("01-minimal"), "x").template, read)["spec"]["containers"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00"])
def test_text_that_is_no_json_is_no_overlay(text):
    assert read_overlay(text) is None


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


def test_the_gateways_template_is_kept_and_read_back():
    template = make_gateway_template("team-a", installation())
    objects = make_gateway_objects("team-a", template, installation(), 2)
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    assert recorded_template(deployment, "1") == template == deployment["spec"]["template"]
    assert recorded_template(deployment, "2") is None
    assert template["spec"]["initContainers"][0]["restartPolicy"] == "Always"
