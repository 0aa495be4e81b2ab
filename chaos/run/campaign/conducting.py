"""Runs one after the other, under one lock, until the last, the end of the budget, or Ctrl-C."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chaos.clock import Clock, SystemClock
from chaos.errors import RagquakeError
from chaos.run.campaign import reports
from chaos.run.campaign.arms import PlannedRun
from chaos.run.campaign.budget import Budget
from chaos.run.campaign.counting import count
from chaos.run.campaign.record import CampaignRecord, Kind, RunRecord, Status
from chaos.run.options import RunOptions, need_of
from chaos.run.progress import Progress
from chaos.run.runner import RunResult, require_runnable, run_once, runs_allowed
from chaos.run.stacks import FreshStacks, SharedStacks, Stacks
from chaos.safety.interruption import Interrupted, interruptible
from chaos.safety.lock import stack_locks
from chaos.safety.rollback import RollbackReport
from chaos.stack.model_servers import SIMULATOR
from slo.documents import DocumentError
from slo.history import FILE as HISTORY_FILE
from slo.history import History, HistoryBusyError
from slo.history import RecordedCampaign as HistoryRow
from slo.units import format_duration
from slo.verdict import Verdict

SUFFIX = ".campaign"
LATEST = "latest-campaign"


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """Which runs, in which order. `share` lets runs of the same need have one stack in turn."""

    kind: Kind
    name: str
    runs: tuple[PlannedRun, ...]
    share: bool = False
    budget_s: float | None = None


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """How it ended; `folder` has campaign.json, junit.xml and summary.md."""

    folder: Path
    record: CampaignRecord

    @property
    def exit_code(self) -> int:
        """The command's exit status."""
        return self.record.exit_code


class Runs:
    """How one of the planned runs is made; another one in tests."""

    def __init__(
        self,
        options: Mapping[str, RunOptions],
        stacks: Stacks,
        progress: Progress,
        clock: Clock,
        cleared: Sequence[RollbackReport] = (),
    ) -> None:
        self._options = options
        self._stacks = stacks
        self._progress = progress
        self._clock = clock
        self._cleared = cleared

    def on_running_stack(self, planned: PlannedRun) -> bool:
        """Whether it will find its stack up."""
        return self._stacks.serves(need_of(planned.loaded, self._options[planned.arm.stack]))

    def make(self, planned: PlannedRun) -> RunResult:
        """Run and judge it."""
        options, cleared = self._options[planned.arm.stack], self._cleared
        self._cleared = ()  # the first run tells it
        return run_once(planned.loaded, options, self._stacks, self._progress, self._clock, cleared)


def decide_options(plan: CampaignPlan, options: RunOptions) -> dict[str, RunOptions]:
    """What the runs of each arm run on, by its `stack`; a target's addresses are decided here, once.

    Raises DocumentError for a target that may not be hurt, and what `require_runnable` raises.
    """
    decided = {"": options}
    for planned in plan.runs:
        stack = planned.arm.stack
        if stack not in decided:
            decided[stack] = replace(options, stack=stack, llm=SIMULATOR, target=None)
            _require_another(decided[stack], options)
        require_runnable(planned.loaded, decided[stack])
    return decided


def _require_another(other: RunOptions, options: RunOptions) -> None:
    """Two arms on one service would compare a version with itself."""
    if options.target is None or other.target is None or other.target.service != options.target.service:
        return
    raise DocumentError(
        [
            f"--compare-to {other.stack}: it is at {other.target.service}, and so is --stack "
            f"{options.stack}; name a target that is another one"
        ]
    )


def run_campaign(
    plan: CampaignPlan, options: RunOptions, progress: Progress, clock: Clock | None = None
) -> CampaignResult:
    """Make the runs and write what they came to. Raises what `run_experiment` raises before it begins."""
    clock = clock or SystemClock()
    decided = decide_options(plan, options)
    what = f"ragquake {plan.kind} {plan.name}"
    with (
        runs_allowed(options, what, progress, clock) as cleared,
        stack_locks(tuple(_addresses(decided.values()) - _addresses([options])), what),
    ):
        folder = new_folder(options.runs, plan.name, clock)
        progress.step(f"{plan.kind} {folder}")
        stacks: Stacks = SharedStacks(folder, clock) if plan.share else FreshStacks()
        runs = Runs(decided, stacks, progress, clock, cleared)
        conductor = Conductor(plan, folder, runs, progress.step, clock)
        left = ""
        try:
            conductor.conduct()
        finally:
            with interruptible(ignore=True):
                try:
                    stacks.close()
                except RagquakeError as error:
                    left = str(error)
        with interruptible(ignore=True):
            record = conductor.end(left)
            reports.write(folder, record, conductor.verdicts)
            with suppress(HistoryBusyError):
                History(options.runs / HISTORY_FILE).record_campaign(_row(record, folder))
    return CampaignResult(folder, record)


class Conductor:
    """Goes through the planned runs; `record` and `verdicts` (by a run's place) grow on the way."""

    def __init__(
        self, plan: CampaignPlan, folder: Path, runs: Runs, say: Callable[[str], None], clock: Clock
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._runs = runs
        self._say = say
        self._clock = clock
        self._budget = Budget(plan.budget_s)
        self._interrupted = ""
        self._began_s = clock.monotonic_s()
        self.verdicts: dict[int, Verdict] = {}
        self.record = CampaignRecord(
            id=folder.name,
            kind=plan.kind,
            name=plan.name,
            budget_s=plan.budget_s,
            started_at_s=clock.unix_s(),
            runs=tuple(RunRecord.of(one) for one in plan.runs),
        )
        self.record.write(folder)

    def conduct(self) -> None:
        """One run after the other, until a person ends it; what a run's error is, is in its record."""
        for index, planned in enumerate(self._plan.runs):
            try:
                self._turn(index, planned)
            except Interrupted as reason:
                self._interrupted = str(reason)
                self._note(index, state="done", status="interrupted", counts_as="inconclusive")
                self._note(index, sentence=str(reason))
            if self._interrupted:
                return

    def end(self, left: str = "") -> CampaignRecord:
        """The record with its verdict; `left` is what could not be ended well."""
        reason = f"not started: {self._interrupted}" if self._interrupted else "not started"
        for index, run in enumerate(self.record.runs):
            if run.state == "planned":
                self._note(index, state="skipped", counts_as="inconclusive", sentence=reason)
        status: Status = "error" if left else "interrupted" if self._interrupted else "finished"
        self.record = self.record.ended(status, left or self._interrupted, self._spent_s())
        self.record.write(self._folder)
        return self.record

    def _turn(self, index: int, planned: PlannedRun) -> None:
        load_s, running = planned.loaded.experiment.duration_s, self._runs.on_running_stack(planned)
        if refusal := self._budget.refusal(self._spent_s(), load_s, on_running_stack=running):
            self._note(index, state="skipped", counts_as="inconclusive", sentence=refusal)
            self._say(f"{planned.name}: {refusal}")
            return
        self._say(self._headline(index))
        began_s = self._clock.monotonic_s()
        self._note(index, state="running", started_at_s=self._clock.unix_s())
        try:
            result = self._runs.make(planned)
        except RagquakeError as error:
            self._note(index, state="done", status="error", counts_as="error", sentence=str(error))
            self._say(f"{planned.name}: error: {error}")
            return
        took_s = self._clock.monotonic_s() - began_s
        self._budget.learn(took_s, load_s, on_running_stack=running)
        self.verdicts[index] = result.verdict
        counted = count(result.verdict, planned.arm.control)
        self._note(
            index,
            state="done",
            status=result.status,
            verdict=result.verdict.verdict,
            counts_as=counted.verdict,
            sentence=counted.sentence,
            bundle=result.bundle.name,
            took_s=round(took_s, 3),
        )
        self._say(f"{planned.name}: {counted.verdict}: {counted.sentence}")
        if result.status == "interrupted":
            self._interrupted = result.message or "stopped by a person"

    def _note(self, index: int, **changes: Any) -> None:
        self.record = self.record.with_run(index, **changes)
        self.record.write(self._folder)

    def _spent_s(self) -> float:
        return self._clock.monotonic_s() - self._began_s

    def _headline(self, index: int) -> str:
        """`run 3 of 8: spike; about 12 m to the end, 15 m of the budget left`."""
        takes_s = sum(
            self._budget.takes_s(
                one.loaded.experiment.duration_s, on_running_stack=self._runs.on_running_stack(one)
            )
            for one in self._plan.runs[index:]
        )
        left = f"about {format_duration(takes_s)} to the end"
        if self._plan.budget_s is not None:
            left += f", {format_duration(max(0.0, self._plan.budget_s - self._spent_s()))} of the budget left"
        return f"run {index + 1} of {len(self._plan.runs)}: {self._plan.runs[index].name}; {left}"


def new_folder(runs: Path, name: str, clock: Clock) -> Path:
    """Make `runs/<time>-<name>-<id>.campaign/` and point `runs/latest-campaign` at it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.unix_s()))
    folder = runs / f"{stamp}-{name}-{secrets.token_hex(3)}{SUFFIX}"
    folder.mkdir(parents=True)
    link = runs / f".latest-campaign-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(runs / LATEST)
    return folder


def _addresses(options: Iterable[RunOptions]) -> set[str]:
    """What others may run on, too, wherever they are started."""
    targets = [one.target for one in options if one.target is not None]
    return {address for target in targets for address in target.addresses}


def _row(record: CampaignRecord, folder: Path) -> HistoryRow:
    return HistoryRow(
        campaign_id=record.id,
        name=record.name,
        started_at_s=record.started_at_s,
        verdict=record.verdict,
        folder=str(folder),
        headline=record.sentences[0] if record.sentences else "",
        runs=tuple(one.bundle for one in record.runs if one.bundle is not None),
    )
