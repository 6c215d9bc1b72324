"""The audit policy, read the way the API server reads it: the first rule that matches decides."""

import pytest

from devcluster.audit import audit_policy


def level(verb, group, resource, user_group="system:authenticated"):
    for rule in audit_policy()["rules"]:
        if _matches(rule, verb, group, resource, user_group):
            return rule["level"]
    return "None"


def _matches(rule, verb, group, resource, user_group):
    if "verbs" in rule and verb not in rule["verbs"]:
        return False
    if "userGroups" in rule and user_group not in rule["userGroups"]:
        return False
    entries = rule.get("resources")
    return entries is None or any(
        entry["group"] == group and resource in entry.get("resources", [resource]) for entry in entries
    )


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_reads_are_left_out(verb):
    assert level(verb, "greylag.dev", "agentroutes") == "None"
    assert level(verb, "apps", "deployments") == "None"


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
@pytest.mark.parametrize(
    "resource", ["agentdeployments", "agentdeployments/status", "agentroutes", "agentroutes/status"]
)
def test_writes_of_our_objects_are_kept_whole(verb, resource):
    assert level(verb, "greylag.dev", resource) == "Request"


@pytest.mark.parametrize(("group", "resource"), [("apps", "deployments"), ("", "configmaps"), ("", "secrets")])
def test_other_writes_are_kept_without_their_body(group, resource):
    assert level("patch", group, resource) == "Metadata"


def test_reviews_are_no_writes():
    assert level("create", "authorization.k8s.io", "selfsubjectaccessreviews") == "None"
    assert level("create", "authentication.k8s.io", "tokenreviews") == "None"


def test_leases_are_left_out_for_kubelets_alone():
    assert level("update", "coordination.k8s.io", "leases", "system:nodes") == "None"
    assert level("update", "coordination.k8s.io", "leases", "system:serviceaccounts") == "Metadata"


def test_an_event_is_written_once_when_answered():
    assert set(audit_policy()["omitStages"]) == {"RequestReceived", "ResponseStarted"}
