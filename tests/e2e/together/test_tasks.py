"""A task outlives the pods that run it."""

from __future__ import annotations

import pytest

from tests.support.lab import Team
from tests.support.task_story import Step, check, tell

PLAN = [Step(0.5), Step(4.0, killed="process"), Step(4.5, again=True, killed="pod"), Step(0.75)]


@pytest.mark.timeout(240)
def test_a_task_whose_pods_are_killed_ends_and_repeats_no_call_that_had_ended(team: Team) -> None:
    check(tell(team, "support", PLAN, 120), PLAN)
