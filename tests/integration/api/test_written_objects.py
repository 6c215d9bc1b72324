"""What the operator writes, the API server stores unchanged."""

from datetime import UTC, datetime

from kubernetes import client, config

from agent_api.meta import API_VERSION
from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.route import (
    AgentRoute,
    AgentRouteSpec,
    AnalysisLedger,
    Drain,
    Lease,
    Rejection,
    Role,
    RolloutLedger,
    RouteRevision,
)
from agent_api.v1alpha1.status import CommandResult, ObservedCommand

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REJECTION = Rejection(revision="support-cccccccccc", reason="AnalysisFailed", message="Too many errors.", time=MOMENT)
SPEC = AgentRouteSpec(
    serial=7,
    port=20001,
    epoch=3,
    suspended=True,
    stickiness=Stickiness.USER,
    revisions=(
        RouteRevision(name="support-aaaaaaaaaa", service="support-aaaaaaaaaa", weight=95, role=Role.STABLE),
        RouteRevision(name="support-bbbbbbbbbb", service="support-bbbbbbbbbb", weight=5, role=Role.CANARY),
    ),
    lease=Lease(counter=12, bumped_at=MOMENT),
    rollout=RolloutLedger(
        stable_available=True,
        step_index=2,
        steps_hash="0123456789",
        started_at=MOMENT,
        step_since=MOMENT,
        rejected=REJECTION,
        last_rollback=REJECTION,
        history=("support-aaaaaaaaaa",),
        draining=(Drain(revision="support-dddddddddd", until=MOMENT),),
        analysis=AnalysisLedger(
            read_until=1, started_at=MOMENT, evidence={"errorRate": "{}"}, users="0:0123abcd", later="1:"
        ),
        command=ObservedCommand(id="1", verb="promote", result=CommandResult.DONE, message="Promoted."),
    ),
)


def test_route_comes_back_from_the_api_server_as_it_was_written(dry_run):
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "AgentRoute",
        "metadata": {"name": "written-objects"},
        "spec": SPEC.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    with config.new_client_from_config() as api:
        stored = client.CustomObjectsApi(api).create_namespaced_custom_object(
            "greylag.dev",
            "v1alpha1",
            "default",
            "agentroutes",
            manifest,
            dry_run="All",
            field_validation="Strict",
            _request_timeout=15,
        )
    assert stored["spec"] == manifest["spec"]
    assert AgentRoute.model_validate(stored).spec == SPEC
