"""Runs one after the other, made by a stand-in that needs no time: what is told, skipped, and counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from junitparser import JUnitXml

from chaos.errors import EnvironmentFailure
from chaos.exit_codes import ExitCode
from chaos.experiment import load_experiment
from chaos.run.campaign import conducting, reports
from chaos.run.campaign.arms import OtherVersion, PlannedRun, arms_of, plan_runs
from chaos.run.campaign.budget import FRESH_S, SHARED_S, Budget
from chaos.run.campaign.conducting import CampaignPlan, Conductor, decide_options
from chaos.run.campaign.record import FILE, CampaignRecord
from chaos.run.campaign.suites import in_groups
from chaos.run.options import RunOptions
from chaos.run.progress import SilentProgress
from chaos.run.runner import RunResult
from chaos.run.stacks import FreshStacks
from chaos.safety.interruption import Interrupted
from chaos.safety.rollback import RollbackReport
from slo.documents import DocumentError
from slo.verdict import Verdicts
from tests.unit.chaos.run.campaign.test_arms import FACTS
from tests.unit.chaos.run.campaign.test_counting import judged

CONTROL = {"mechanism": "resilience", "service": {"resilience": "off"}, "expect": "fail"}
Outcome = Verdicts | BaseException


class Watch:
    """A clock that only moves when a run is made."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Stand:
    """Makes runs that come to what was said, each in its load's time and `around_s`."""

    outcomes: Sequence[Outcome]
    clock: Watch
    folder: Path
    around_s: float = 30.0
    status: str = "completed"
    made: list[str] = field(default_factory=list)

    def on_running_stack(self, planned: PlannedRun) -> bool:
        del planned
        return bool(self.made)

    def make(self, planned: PlannedRun) -> RunResult:
        outcome = self.outcomes[len(self.made)]
        self.made.append(planned.name)
        self.clock.sleep(planned.loaded.experiment.duration_s + self.around_s)
        if isinstance(outcome, BaseException):
            raise outcome
        verdict = judged(outcome, failed=("search-p95",) if outcome == "fail" else ())
        return RunResult(self.folder / f"bundle-{len(self.made)}", self.status, "", verdict)


Conduct = Callable[..., tuple[CampaignRecord, Stand, Conductor]]


@pytest.fixture
def conduct(tmp_path: Path) -> Conduct:
    """Conduct runs of an experiment of 5 s, with its control if wanted."""

    def run(
        outcomes: Sequence[Outcome],
        *,
        repeats: int = 1,
        control: bool = False,
        budget_s: float | None = None,
        status: str = "completed",
    ) -> tuple[CampaignRecord, Stand, Conductor]:
        path = tmp_path / "tiny.yaml"
        path.write_text(json.dumps({**FACTS, "negative_control": CONTROL}))
        runs = plan_runs(arms_of(load_experiment(path), control=control), repeats)
        clock = Watch()
        stand = Stand(outcomes, clock, tmp_path, status=status)
        plan = CampaignPlan("campaign", "tiny", runs, budget_s=budget_s)
        conductor = Conductor(plan, tmp_path, stand, lambda _line: None, clock)
        conductor.conduct()
        return conductor.end(), stand, conductor

    return run


def test_the_runs_are_made_in_turns(conduct: Conduct) -> None:
    """Experiment, control, experiment, control; when each came out as it should, all passed."""
    record, stand, _ = conduct(["pass", "fail", "warn", "fail"], repeats=2, control=True)
    assert stand.made == [
        *("tiny, 1 of 2", "tiny (control: resilience), 1 of 2"),
        *("tiny, 2 of 2", "tiny (control: resilience), 2 of 2"),
    ]
    assert record.verdict == "warn" and record.exit_code == ExitCode.PASSED
    assert [one.counts_as for one in record.runs] == ["pass", "pass", "warn", "pass"]
    assert record.sentences[-1] == "4 of 4 runs came out as they should"


@pytest.mark.parametrize(
    ("outcomes", "verdict", "code"),
    [
        (["pass", "fail"], "pass", ExitCode.PASSED),
        (["pass", "pass"], "inconclusive", ExitCode.INCONCLUSIVE),
        (["fail", "pass"], "fail", ExitCode.FAILED),
        (["fail", "error"], "error", ExitCode.ENVIRONMENT),
        (["inconclusive", "fail"], "inconclusive", ExitCode.INCONCLUSIVE),
        (["pass", EnvironmentFailure("no port")], "error", ExitCode.ENVIRONMENT),
    ],
)
def test_an_experiment_and_its_control_come_to_one_verdict(
    conduct: Conduct, outcomes: Sequence[Outcome], verdict: Verdicts, code: ExitCode
) -> None:
    """By precedence, with the control counted the other way round."""
    record, stand, _ = conduct(outcomes, control=True)
    assert len(stand.made) == 2 and (record.verdict, record.exit_code) == (verdict, code)


def test_an_error_of_one_run_does_not_keep_the_others_from_being_made(conduct: Conduct) -> None:
    """Its sentence is in the record; the verdict is an error all the same."""
    record, stand, _ = conduct([EnvironmentFailure("no port"), "pass"], repeats=2)
    assert len(stand.made) == 2 and record.verdict == "error"
    assert record.runs[0].sentence == "no port" and record.runs[1].counts_as == "pass"


@pytest.mark.parametrize("how", ["raised", "status"])
def test_ctrl_c_ends_it_and_the_rest_is_told_as_not_started(conduct: Conduct, how: str) -> None:
    """Exit 130; what ran before keeps its verdict."""
    if how == "raised":
        record, stand, _ = conduct(["pass", Interrupted("SIGINT"), "pass"], repeats=3)
        assert record.runs[0].counts_as == "pass"
        assert len(stand.made) == 2
    else:
        record, stand, _ = conduct(["inconclusive"], repeats=3, status="interrupted")
        assert len(stand.made) == 1
    assert record.status == "interrupted" and record.exit_code == ExitCode.INTERRUPTED
    assert record.verdict == "inconclusive"
    assert record.runs[2].state == "skipped" and "not started" in record.runs[2].sentence


def test_what_does_not_fit_the_budget_is_skipped_and_nothing_is_proved(conduct: Conduct) -> None:
    """A run is started only when it will end in time; that one was skipped is no pass."""
    first_s, next_s = 5 + FRESH_S, 5 + 30
    record, stand, _ = conduct(["pass"] * 3, repeats=3, budget_s=first_s + next_s)
    assert len(stand.made) == 2
    assert record.verdict == "inconclusive" and record.exit_code == ExitCode.INCONCLUSIVE
    skipped = record.runs[2]
    assert skipped.state == "skipped" and skipped.counts_as == "inconclusive"
    assert "skipped: it takes about" in skipped.sentence and "are left" in skipped.sentence
    all_fit, stand, _ = conduct(["pass"] * 3, repeats=3, budget_s=10 * first_s)
    assert len(stand.made) == 3 and all_fit.verdict == "pass"


def test_the_budget_learns_what_comes_on_top_of_the_load() -> None:
    """The longest that was seen, apart for runs that find their stack up."""
    budget = Budget(100.0)
    assert budget.takes_s(5.0, on_running_stack=False) == 5.0 + FRESH_S
    budget.learn(50.0, 5.0, on_running_stack=False)
    budget.learn(35.0, 5.0, on_running_stack=False)
    assert budget.takes_s(5.0, on_running_stack=False) == 50.0
    assert budget.takes_s(5.0, on_running_stack=True) == 5.0 + SHARED_S
    assert budget.refusal(50.0, 5.0, on_running_stack=False) == ""
    assert "only 49 s are left" in budget.refusal(51.0, 5.0, on_running_stack=False)
    assert Budget(None).refusal(1e9, 1e9, on_running_stack=False) == ""


def test_runs_of_the_same_need_are_put_in_a_row(tmp_path: Path) -> None:
    """The stack changes as seldom as can be; among themselves they stay in order."""
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps({**FACTS, "negative_control": CONTROL}))
    runs = plan_runs(arms_of(load_experiment(path), control=True), 2)
    grouped = in_groups(runs, lambda one: one.loaded.experiment.service)
    assert [one.arm.role for one in grouped] == ["experiment"] * 2 + ["control"] * 2
    assert [one.repeat for one in grouped] == [1, 2, 1, 2]


def test_the_record_is_on_disk_at_every_moment(conduct: Conduct, tmp_path: Path) -> None:
    """A campaign that is killed leaves what it did until then."""
    record, *_ = conduct(["pass", "fail"], control=True)
    on_disk = json.loads((tmp_path / FILE).read_text())
    assert on_disk["schema"] == "ragquake/campaign/v1" and on_disk["status"] == "finished"
    assert on_disk["runs"][1]["expect"] == "fail" and on_disk["verdict"] == record.verdict


def test_junit_has_a_suite_for_each_run(conduct: Conduct, tmp_path: Path) -> None:
    """A control that failed as it should is green, one that did not is an error, and so is a skipped run."""
    record, _, conductor = conduct(["pass", "pass", "pass"], repeats=2, control=True, budget_s=135.0)
    reports.write(tmp_path, record, conductor.verdicts)
    suites = list(JUnitXml.fromfile(str(tmp_path / "junit.xml")))
    assert [one.name for one in suites] == [one.name for one in record.runs]
    assert [one.errors for one in suites] == [0, 1, 0, 1]
    assert suites[0].tests > 1 and suites[1].tests == 1
    good, _, conductor = conduct(["pass", "fail"], control=True)
    reports.write(tmp_path, good, conductor.verdicts)
    suites = list(JUnitXml.fromfile(str(tmp_path / "junit.xml")))
    assert [(one.errors, one.failures) for one in suites] == [(0, 0), (0, 0)]


def test_the_summary_starts_with_the_verdict_and_what_is_wrong(conduct: Conduct, tmp_path: Path) -> None:
    """A reviewer reads the first lines: the verdict, then the run that matters most."""
    record, _, conductor = conduct(["pass", "pass"], control=True)
    reports.write(tmp_path, record, conductor.verdicts)
    text = (tmp_path / "summary.md").read_text()
    assert text.splitlines()[0].endswith("Inconclusive: tiny")
    assert "the experiment cannot fail" in text.splitlines()[2] and "bundle-2" in text


def test_the_summary_shows_repeats_side_by_side(conduct: Conduct, tmp_path: Path) -> None:
    """Each objective over all runs of an arm; a control's are meant to fail, and are left out."""
    record, _, conductor = conduct(["pass", "fail"], repeats=2)
    for index, value in enumerate((0.2, 0.4)):
        verdict = conductor.verdicts[index]
        changed = tuple(one.model_copy(update={"value": value}) for one in verdict.objectives)
        conductor.verdicts[index] = verdict.model_copy(update={"objectives": changed})
    reports.write(tmp_path, record, conductor.verdicts)
    assert "300 ms (200 ms … 400 ms) pass" in (tmp_path / "summary.md").read_text()
    record, _, conductor = conduct(["pass", "fail"], control=True)
    reports.write(tmp_path, record, conductor.verdicts)
    assert "over all runs" not in (tmp_path / "summary.md").read_text()


TARGET = (
    "{{apiVersion: ragquake/v1, kind: Target, name: {name}, service: {{url: 'http://127.0.0.1:{port}'}}}}"
)


def test_a_target_is_not_compared_with_itself(tmp_path: Path) -> None:
    """Two files that lead to one service are one version."""
    (tmp_path / "tiny.yaml").write_text(json.dumps({**FACTS, "service": {}}))
    for name, port in (("a", 8080), ("b", 8080), ("c", 8081)):
        (tmp_path / f"{name}.yaml").write_text(TARGET.format(name=name, port=port))
    options = RunOptions(runs=tmp_path / "runs", state=tmp_path, stack=str(tmp_path / "a.yaml"))

    def plan(other: str) -> CampaignPlan:
        loaded, there = load_experiment(tmp_path / "tiny.yaml"), OtherVersion(target=str(tmp_path / other))
        return CampaignPlan("campaign", "tiny", plan_runs(arms_of(loaded, compare_to=there), 1))

    with pytest.raises(DocumentError, match=r"b\.yaml: it is at http://127\.0\.0\.1:8080, and so is --stack"):
        decide_options(plan("b.yaml"), options)
    assert set(decide_options(plan("c.yaml"), options)) == {"", str(tmp_path / "c.yaml")}


def test_what_was_cleared_away_stands_in_the_first_runs_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign cleans up behind earlier runs, too, and says so once."""
    told: list[tuple[RollbackReport, ...]] = []

    def run_once(*given: object) -> None:
        told.append(tuple(given[-1]))  # type: ignore[call-overload]

    monkeypatch.setattr(conducting, "run_once", run_once)
    (tmp_path / "tiny.yaml").write_text(json.dumps(FACTS))
    runs = plan_runs(arms_of(load_experiment(tmp_path / "tiny.yaml")), 2)
    left = RollbackReport(tmp_path / "old", stopped=("proxy",))
    made = conducting.Runs({"": RunOptions()}, FreshStacks(), SilentProgress(), Watch(), [left])
    for planned in runs:
        made.make(planned)
    assert told == [(left,), ()]
