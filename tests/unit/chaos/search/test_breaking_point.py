"""Breaking points: the staircase that is climbed and the bracket that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.exit_codes import ExitCode
from chaos.experiment import find_experiment, load_experiment
from chaos.run.options import RunOptions
from chaos.run.progress import SilentProgress
from chaos.run.runner import RunResult
from chaos.search.breaking_point import Search, Step, bracket, search_breaking_point
from chaos.search.staircase import derive_staircase, find_knob, parse_sizes
from slo.documents import DocumentError
from slo.verdict import Run, Verdict

SEARCH = Search("spike", "slow-vector-db.latency", "0ms", "4s")


def steps(*verdicts: str) -> list[Step]:
    return [Step(float(n), v, "first-token" if v == "fail" else None, "b") for n, v in enumerate(verdicts)]


def test_the_bracket_is_the_last_good_and_the_first_bad_size() -> None:
    """Both ends were tried; nothing is claimed about what lies between."""
    found = bracket(SEARCH, steps("pass", "warn", "fail", "pass"))

    assert (found.last_good_s, found.first_bad_s, found.broke_first) == (1.0, 2.0, "first-token")
    assert found.exit_code == ExitCode.PASSED


def test_nothing_broke_is_not_the_same_as_a_breaking_point_at_the_top() -> None:
    """Where every size held, the breaking point lies beyond."""
    found = bracket(SEARCH, steps("pass", "pass"))

    assert (found.last_good_s, found.first_bad_s) == (1.0, None)
    assert "beyond" in found.sentence()


def test_a_step_that_could_not_be_judged_ends_the_search() -> None:
    """A gap in what is known is never bridged."""
    found = bracket(SEARCH, steps("pass", "inconclusive", "fail"))

    assert not found.conclusive
    assert found.exit_code == ExitCode.INCONCLUSIVE


def test_everything_broke_leaves_no_good_size() -> None:
    """When the lowest size is bad already, the answer says so."""
    found = bracket(SEARCH, steps("fail", "fail"))

    assert (found.last_good_s, found.first_bad_s) == (None, 0.0)


@pytest.mark.parametrize(("status", "code"), [("interrupted", 130), ("error", 4)])
def test_a_search_that_was_cut_short_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, code: int
) -> None:
    """Also when the safety lever ended the run, which nobody at this terminal did."""

    def run(*_given: object) -> RunResult:
        verdict = Verdict(verdict="error", exit_code=4, run=Run())
        return RunResult(tmp_path, status, "a release goes out", verdict)

    monkeypatch.setattr("chaos.search.breaking_point.run_experiment", run)
    options = RunOptions(tmp_path / "runs", tmp_path / "state")
    found = search_breaking_point(SEARCH, options, SilentProgress())
    assert (found.exit_code, found.message) == (code, f"{status}: a release goes out")
    assert found.as_record()["message"] == found.message
    assert not found.conclusive


def test_sizes_double_up_to_the_highest() -> None:
    """Most of the staircase's time goes to where things change."""
    assert parse_sizes("0ms", "4s", 6) == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0]
    assert parse_sizes("1s", "4s", 6) == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("low", "high"), [("4s", "1s"), ("1s", "1s"), ("0", "1s"), ("-1s", "1s")])
def test_impossible_ranges_are_refused(low: str, high: str) -> None:
    """The range runs upwards, in durations."""
    with pytest.raises(DocumentError):
        parse_sizes(low, high, 5)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("latency", "FAULT.PARAMETER"),
        ("slow-vectr-db.latency", "did you mean"),
        ("slow-vector-db.size", "latency"),
    ],
)
def test_a_knob_that_is_not_there_is_refused_with_what_is(over: str, said: str) -> None:
    """The message lists the faults, or the fault's parameters."""
    with pytest.raises(DocumentError, match=said):
        find_knob(load_experiment(find_experiment("spike")), over)


def test_each_step_is_a_phase_at_the_faults_load_with_the_faults_targets(tmp_path: Path) -> None:
    """A step differs from the fault's phase in the size of the fault alone."""
    spike = load_experiment(find_experiment("spike"))
    knob = find_knob(spike, "slow-vector-db.latency")
    derived = derive_staircase(spike, knob, [0.0, 0.5, 4.0], "20s", tmp_path)

    by_name = {phase.name: phase for phase in derived.phases}
    fault_phase = next(phase for phase in spike.phases if phase.name == "fault")
    assert by_name["step-1"].faults == ()
    assert by_name["step-3"].faults == ("slow-vector-db-3",)
    assert by_name["step-3"].rate_per_s == fault_phase.rate_per_s
    assert not by_name["pause-1"].judged
    assert derived.faults["slow-vector-db-3"].parameters()["latency_s"] == 4.0
    wanted = {one.name: one for one in spike.objectives.objectives}
    for one in derived.objectives.objectives:
        assert one.target_in("step-2") == wanted[one.name].target_in("fault")
