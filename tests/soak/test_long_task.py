"""A task of three minutes whose pods are killed."""

from __future__ import annotations

import pytest

from tests.support.figures import keep
from tests.support.lab import Team
from tests.support.task_story import Step, check, tell

PLAN = [
    *(Step(20.0 + place / 10) for place in range(3)),
    Step(21.0, killed="process"),
    *(Step(22.0 + place / 10) for place in range(2)),
    Step(23.0, again=True, killed="pod"),
    *(Step(24.0 + place / 10) for place in range(2)),
]


@pytest.mark.timeout(900)
def test_a_task_of_three_minutes_outlives_two_pods(team: Team) -> None:
    story = tell(team, "support", PLAN, 600)
    keep(
        "long-task",
        seconds=round(story.seconds, 1),
        attempts=story.document["attempt"],
        calls=dict(story.outcomes()),
        events=len(story.events),
        connections=story.connections,
    )
    check(story, PLAN)
    assert story.seconds >= 180
