"""A verdict begins with the one reason that matters, and what to do where evidence is missing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from slo import sentences
from slo.plan import Plan, PlannedPhase
from slo.verdict import EXIT_CODES, Assertion, Gate, Objective, Run, Verdict, Verdicts

SEEN = "62 % (55 % to 70 %, 162 samples); target >= 98% is missed by the whole interval"


def plan(**changed: Any) -> Plan:
    """Two phases of 40 s; what no reason is made of is not known."""
    phases = tuple(
        PlannedPhase(name, start_s, start_s + 40.0, 4.0, (), True, None, True)
        for name, start_s in (("baseline", 0.0), ("fault", 40.0))
    )
    known = {"run": {}, "phases": phases, "faults": (), "stops": (), "status": "completed"}
    return Plan(**{field.name: None for field in fields(Plan)} | known | changed)


def objective(name: str, segment: str, phase: str, verdict: Verdicts = "fail") -> Objective:
    return Objective(
        name=name, segment=segment, indicator="good_ratio", phase=phase, target=">= 98%", unit="ratio",
        verdict=verdict, message=SEEN,
    )  # fmt: skip


def gate(name: Any, message: str, **facts: Any) -> Gate:
    return Gate(name=name, verdict="inconclusive", message=message, facts=facts)


def first(verdict: Verdicts, of: Plan | None = None, status: str = "completed", **parts: Any) -> str:
    """What stands beside the verdict's word."""
    made = Verdict(verdict=verdict, exit_code=EXIT_CODES[verdict], run=Run(status=status), **parts)
    return sentences.about(made, of or plan())[0]


def test_a_failure_says_which_objective_where_what_was_seen_and_what_was_wanted() -> None:
    """Users first, and how much else failed."""
    parts = (objective("p95", "search", "fault"), objective("answered", "journey", "fault"))
    against = (Assertion(name="breaker_opens", verdict="fail", message="it never opened"),)
    told = first("fail", objectives=parts, assertions=against)
    assert told.startswith(f"Failed: answered in fault. Journey good_ratio was {SEEN}. ")
    assert told.endswith(" 1 more objective and 1 more assertion failed.")


def test_a_baseline_that_failed_explains_the_rest() -> None:
    """The service was not well before anything was done to it."""
    told = first(
        "fail", objectives=(objective("answered", "journey", "fault"), objective("p95", "search", "baseline"))
    )
    assert told.startswith("Failed: p95 in baseline. ") and told.endswith("1 more objective failed.")


def test_an_assertion_alone_is_the_reason() -> None:
    """Nothing is said of objectives that held."""
    held = (objective("answered", "journey", "fault", "pass"),)
    against = (Assertion(name="breaker_opens", verdict="fail", message="it never opened"),)
    assert first("fail", objectives=held, assertions=against) == "Failed: breaker_opens: it never opened."


def test_a_stop_condition_comes_first() -> None:
    """It ended the run; what failed until then is a consequence."""
    stopped = plan(stops=({"condition": "journey error_ratio above 50 % for 10 s", "observed": "80 %"},))
    told = first("fail", stopped, status="stopped", objectives=(objective("answered", "journey", "fault"),))
    assert told == (
        "Failed: a stop condition ended the run: journey error_ratio above 50 % for 10 s, observed 80 %."
    )


def test_missing_samples_come_with_the_flags_that_would_have_been_enough() -> None:
    """Each phase once, by the objective that needs most."""
    lacking = [
        {"phase": "fault", "more_s": 4.0},
        {"phase": "fault", "more_s": 12.0},
        {"phase": "x", "more_s": None},
    ]
    told = first("inconclusive", gates=(gate("samples", "first-token in fault: 61 samples", open=lacking),))
    assert told == (
        "Inconclusive: the data does not decide. First-token in fault: 61 samples. "
        "Run it again with --set phases.fault.for=58s."
    )
    assert "Run it longer" in first("inconclusive", gates=(gate("samples", "no data", open=[]),))


def test_what_makes_all_else_worthless_comes_first() -> None:
    """Lost spans before a fault that did not bite; a run that was broken off before both."""
    bite, lost = (
        gate("bite", "slow: it was never injected"),
        gate("evidence", "5 of 9 answers have no trace. Do x."),
    )
    assert first("inconclusive", gates=(bite, lost)).startswith("Inconclusive: evidence is missing. 5 of 9")
    assert first("inconclusive", gates=(bite,)).endswith("is the fault large enough?")
    ended = gate("finished", "a person ended the run early")
    told = first("inconclusive", status="interrupted", gates=(bite, lost, ended))
    assert told.startswith("Inconclusive: the run did not go to its end. A person ended the run early.")
    stopped = first(
        "inconclusive", status="stopped", gates=(lost, gate("finished", "a stop condition ended it"))
    )
    assert stopped.startswith("Inconclusive: evidence is missing. ")


def test_an_error_says_what_failed() -> None:
    """In the words of whoever failed."""
    told = first("error", plan(status="error", message="the proxy died"), status="error")
    assert told == "The harness failed, nothing was judged: the proxy died."


def test_a_reason_is_said_once() -> None:
    """What stands in the first sentence is not repeated below it."""
    made = Verdict(verdict="fail", exit_code=1, run=Run(status="completed"),
                   objectives=(objective("answered", "journey", "fault"),))  # fmt: skip
    told = sentences.about(made, plan())
    assert sum("answered" in one for one in told) == 1
    passed = Verdict(verdict="pass", exit_code=0, run=Run(status="completed"))
    assert sentences.about(passed, plan())[0].startswith("Passed: ")
