"""Journeys register themselves, and a plan can only name those that exist."""

import pytest

from journeys.journey import all_journeys, journey, journeys_of
from journeys.plan import Plan, PlanError


def plan(**journeys: float) -> Plan:
    return Plan.model_validate(
        {
            "run_id": "r",
            "target": "http://127.0.0.1:1",
            "seed": 1,
            "phases": [{"name": "a", "start_s": 0, "end_s": 1, "rate_per_s": 1}],
            "journeys": journeys,
            "attempts": "attempts.jsonl",
        }
    )


def test_every_file_in_users_is_a_journey_of_its_name() -> None:
    """The shipped journeys are there without being listed anywhere."""
    assert {"ask", "follow_up", "impatient"} <= set(all_journeys())
    assert all(one.live.__module__ == f"journeys.users.{name}" for name, one in all_journeys().items())


def test_a_plan_gets_the_journeys_it_names() -> None:
    """Only the journeys of the plan are taken, with the number of questions that each asks."""
    chosen = journeys_of(plan(follow_up=1))
    assert {name: one.questions for name, one in chosen.items()} == {"follow_up": 2}


def test_an_unknown_journey_is_refused_with_what_there_is() -> None:
    """The error names the journey, the ones that exist, and the file that would add it."""
    with pytest.raises(PlanError, match=r"'dance'; there are ask.*journeys/users/dance\.py"):
        journeys_of(plan(ask=1, dance=2))


def test_two_journeys_cannot_share_a_name() -> None:
    """A second registration is refused rather than replacing the first."""
    all_journeys()
    with pytest.raises(ValueError, match="'ask' is registered twice"):
        journey("ask", questions=1)(lambda _user: None)


def test_a_journey_must_ask_something() -> None:
    """A journey without questions would be an arrival that proves nothing."""
    with pytest.raises(ValueError, match="at least 1"):
        journey("silent", questions=0)(lambda _user: None)
