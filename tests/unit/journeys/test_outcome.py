"""The verdict on one answer: only a terminal event makes it what the service claims."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeys.outcome import ANSWERED, Ending, Outcome, Reading, Terminal, outcome_of

DONE = Reading(terminal=Terminal.DONE, service_outcome="full")
CLAIMED = Reading(service_outcome="full", tokens=9, first_token_s=1.0)


@pytest.mark.parametrize("claim", sorted(ANSWERED))
def test_a_terminated_answer_is_what_the_service_says(claim: str) -> None:
    """full, degraded and cached are taken over once `done` was seen."""
    reading = Reading(terminal=Terminal.DONE, service_outcome=claim)
    assert outcome_of(200, Ending.FINISHED, reading) == claim


@pytest.mark.parametrize(
    ("status", "ending", "reading", "outcome"),
    [
        (200, Ending.FINISHED, CLAIMED, "truncated"),
        (200, Ending.CUT, CLAIMED, "truncated"),
        (200, Ending.CUT, Reading(), "truncated"),
        (200, Ending.OUT_OF_PATIENCE, CLAIMED, "timeout"),
        (None, Ending.OUT_OF_PATIENCE, Reading(), "timeout"),
        (None, Ending.RUN_OVER, Reading(), "timeout"),
        (200, Ending.HUNG_UP, Reading(), "abandoned"),
        (None, Ending.RUN_STOPPED, Reading(), "abandoned"),
        (None, Ending.UNREACHABLE, Reading(), "error"),
        (503, Ending.FINISHED, Reading(service_outcome="refused"), "refused"),
        (429, Ending.CUT, Reading(), "refused"),
        (500, Ending.FINISHED, Reading(), "error"),
        (404, Ending.FINISHED, Reading(), "error"),
        (302, Ending.FINISHED, Reading(), "error"),
        (200, Ending.FINISHED, Reading(terminal=Terminal.ERROR, service_outcome="full"), "error"),
        (200, Ending.FINISHED, Reading(terminal=Terminal.DONE), "error"),
        (200, Ending.FINISHED, Reading(terminal=Terminal.DONE, service_outcome="splendid"), "error"),
        (200, Ending.FINISHED, Reading(terminal=Terminal.DONE, service_outcome="refused"), "refused"),
    ],
)
def test_each_way_to_end_has_its_outcome(
    status: int | None, ending: Ending, reading: Reading, outcome: str
) -> None:
    """The table of docs/reference/attempts.md, case by case."""
    assert outcome_of(status, ending, reading) == outcome


@given(st.sampled_from(Ending))
def test_what_happens_to_the_connection_after_done_does_not_matter(ending: Ending) -> None:
    """An answer that was complete stays complete."""
    assert outcome_of(200, ending, DONE) is Outcome.FULL


@given(
    st.sampled_from(Ending), st.one_of(st.none(), st.integers(100, 599)), st.sampled_from(sorted(ANSWERED))
)
def test_a_claim_without_its_end_is_never_an_answer(ending: Ending, status: int | None, claim: str) -> None:
    """No status, ending or claim makes an answer of a stream whose terminal event is missing."""
    assert outcome_of(status, ending, Reading(service_outcome=claim)) not in ANSWERED
