"""What each run counts as, and what the runs come to in all."""

from __future__ import annotations

import itertools

import pytest

from chaos.experiment import NegativeControl
from chaos.run.campaign.counting import PRECEDENCE, count, verdict_of_all
from slo.verdict import EXIT_CODES, Assertion, Bite, Fault, Objective, Phase, Run, Verdict, Verdicts


def judged(verdict: Verdicts, failed: tuple[str, ...] = (), asserted: tuple[str, ...] = ()) -> Verdict:
    """A verdict in which these objectives and assertions failed, and others held."""
    objectives = [
        Objective(
            name=name,
            segment="journey",
            indicator="p95",
            phase="fault",
            target="<= 1s",
            unit="s",
            verdict="fail" if name in failed else "pass",
            message="",
        )
        for name in (*failed, "answered")
    ]
    assertions = [
        Assertion(name=name, verdict="fail" if name in asserted else "pass", message="")
        for name in (*asserted, "every_degraded_answer_says_so")
    ]
    return Verdict(
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        sentences=("the headline",),
        run=Run(),
        objectives=tuple(objectives),
        assertions=tuple(assertions),
    )


CONTROL = NegativeControl.model_validate(
    {
        "mechanism": "circuit breaker",
        "service": {"breaker.min_calls": 100000},
        "expect": "fail",
        "because": ["breaker_opens", "search-p95"],
    }
)


@pytest.mark.parametrize("verdict", PRECEDENCE)
def test_a_run_counts_as_its_verdict(verdict: Verdicts) -> None:
    """Of an arm that is to pass, the verdict is what it is."""
    assert count(judged(verdict), None).verdict == verdict


def test_a_control_that_failed_for_its_reason_counts_as_passed() -> None:
    """An objective or an assertion that `because` names is enough, whatever failed beside it."""
    for found in (
        judged("fail", asserted=("breaker_opens",)),
        judged("fail", failed=("search-p95", "first-token")),
    ):
        counted = count(found, CONTROL)
        assert counted.verdict == "pass" and "failed as it should" in counted.sentence
    assert "breaker_opens" in count(judged("fail", asserted=("breaker_opens",)), CONTROL).sentence


@pytest.mark.parametrize("verdict", ["pass", "warn"])
def test_a_control_that_passed_shows_that_the_experiment_cannot_fail(verdict: Verdicts) -> None:
    """Nothing is proved by an experiment that passes without the mechanism, too."""
    counted = count(judged(verdict), CONTROL)
    assert counted.verdict == "inconclusive"
    assert "the experiment cannot fail" in counted.sentence and "circuit breaker" in counted.sentence


def test_a_control_that_failed_for_another_reason_is_inconclusive() -> None:
    """The sentence says what should have failed and what did."""
    counted = count(judged("fail", failed=("first-token",)), CONTROL)
    assert counted.verdict == "inconclusive"
    for word in ("breaker_opens or search-p95", "first-token"):
        assert word in counted.sentence


def with_phases(verdict: Verdict, *, bit: Verdicts = "pass", failed_in: str = "fault") -> Verdict:
    """The same in a run with a baseline and a fault that bit or not."""
    fault = Fault(name="slow", on="vector_db", kind="latency", bite=Bite(verdict=bit, message=""))
    return verdict.model_copy(
        update={
            "faults": (fault,),
            "phases": (
                Phase(name="baseline", start_s=0, end_s=10, rate_per_s=1),
                Phase(name="fault", start_s=10, end_s=20, rate_per_s=1, faults=("slow",)),
            ),
            "objectives": tuple(
                one.model_copy(update={"phase": failed_in}) if one.verdict == "fail" else one
                for one in verdict.objectives
            ),
        }
    )


@pytest.mark.parametrize("because", [CONTROL.because, ()])
def test_a_control_that_failed_at_its_baseline_shows_nothing(because: tuple[str, ...]) -> None:
    """Before anything was done to the service no mechanism can have been missed; a busy machine was."""
    control = CONTROL.model_copy(update={"because": because})
    failed = judged("fail", failed=("search-p95",))
    assert count(with_phases(failed), control).verdict == "pass"
    counted = count(with_phases(failed, failed_in="baseline"), control)
    assert (
        counted.verdict == "inconclusive" and "search-p95 failed before anything was done" in counted.sentence
    )


@pytest.mark.parametrize("because", [CONTROL.because, ()])
def test_a_control_whose_faults_did_not_bite_shows_nothing(because: tuple[str, ...]) -> None:
    """It failed of something, and not of what was done to it."""
    control = CONTROL.model_copy(update={"because": because})
    failed = judged("fail", failed=("search-p95",))
    counted = count(with_phases(failed, bit="inconclusive"), control)
    assert counted.verdict == "inconclusive" and "slow did not bite" in counted.sentence


def test_a_control_without_a_reason_may_fail_of_anything() -> None:
    """Also of a stop condition alone, which is no objective."""
    anything = CONTROL.model_copy(update={"because": ()})
    assert count(judged("fail", failed=("first-token",)), anything).verdict == "pass"
    stopped = count(judged("fail"), anything)
    assert stopped.verdict == "pass" and "a stop condition" in stopped.sentence


@pytest.mark.parametrize("verdict", ["inconclusive", "error"])
def test_a_control_that_was_not_judged_proves_nothing(verdict: Verdicts) -> None:
    """It has not failed because the mechanism is off, but because the run showed nothing."""
    assert count(judged(verdict), CONTROL).verdict == verdict


def test_the_verdict_of_all_is_the_first_by_precedence() -> None:
    """Error before fail before inconclusive before warn before pass, in whatever order they come."""
    for size in range(1, len(PRECEDENCE) + 1):
        for chosen in itertools.permutations(PRECEDENCE, size):
            assert verdict_of_all(chosen) == min(chosen, key=PRECEDENCE.index)


def test_no_run_is_no_pass() -> None:
    """Of nothing, nothing is known."""
    assert verdict_of_all([]) == "inconclusive"
