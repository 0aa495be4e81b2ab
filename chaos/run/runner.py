"""One run of one experiment, from the lock to the verdict.

The order is the design's (section 6): nothing starts before everything is validated; each undo is in the
journal before its fault is in; the faults come out whatever happens; and the verdict is made from the
bundle alone, by the same code that `ragquake evaluate` uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.clock import Clock, SystemClock
from chaos.exit_codes import ExitCode
from chaos.experiment import LoadedExperiment
from chaos.experiment.needs import require_possible, seen_through
from chaos.run.bundle_folder import new_bundle
from chaos.run.guarded_run import GuardedRun
from chaos.run.journal import FILE_NAME, Journal, read
from chaos.run.judgement import judge
from chaos.run.options import RunOptions
from chaos.run.progress import Progress
from chaos.run.stacks import FreshStacks, Stacks
from chaos.safety.interruption import Interrupted, interruptible
from chaos.safety.leftovers import clear_leftovers
from chaos.safety.lever import heeding_the_lever, pulled
from chaos.safety.lock import run_lock, stack_locks
from chaos.safety.rollback import RollbackReport
from chaos.stack.opening import require_available
from slo.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    bundle: Path
    status: str
    message: str
    verdict: Verdict

    @property
    def exit_code(self) -> int:
        """The command's exit status for this run."""
        if self.status == "interrupted":
            return ExitCode.INTERRUPTED
        return self.verdict.exit_code


def run_experiment(
    loaded: LoadedExperiment, options: RunOptions, progress: Progress, clock: Clock | None = None
) -> RunResult:
    """Run an experiment and judge it.

    Raises RunRefused when it may not start, DocumentError when the stack has nobody to commit a fault,
    StackError when the model server it asks for is not to be had, Interrupted when the safety lever or
    somebody's impatience leaves no time to judge what there is; all else ends in a verdict.
    """
    clock = clock or SystemClock()
    require_runnable(loaded, options)
    with runs_allowed(options, f"ragquake run {loaded.experiment.name}", progress, clock) as cleared:
        return run_once(loaded, options, FreshStacks(), progress, clock, cleared)


def require_runnable(loaded: LoadedExperiment, options: RunOptions) -> None:
    """Raises what `run_experiment` says, for what can be known before anything is touched."""
    require_possible(loaded, options.stack, options.llm.llm, options.target)
    require_available(options.stack, options.llm, options.state, options.target)


@contextmanager
def runs_allowed(
    options: RunOptions, what: str, progress: Progress, clock: Clock
) -> Iterator[list[RollbackReport]]:
    """While this lasts the machine is ours for runs, and whoever wants them to stop is heard.

    Gives what earlier runs had left and was undone. Raises RunRefused when it is not our turn.
    """
    with (
        run_lock(options.state / "run.lock", what),
        stack_locks(options.target.addresses if options.target else (), what),
        interruptible(),
        heeding_the_lever(),
        closing(progress),
    ):
        yield clear_leftovers(options.runs, progress.step, clock)


def run_once(
    loaded: LoadedExperiment,
    options: RunOptions,
    stacks: Stacks,
    progress: Progress,
    clock: Clock,
    cleared: Sequence[RollbackReport] = (),
) -> RunResult:
    """One run within `runs_allowed`, on a stack from `stacks`, and its verdict."""
    if options.target is not None:
        loaded = seen_through(loaded, options.target)
    bundle = new_bundle(options.runs, loaded, clock)
    for entry in read(bundle / FILE_NAME):  # it was made with its first fact
        progress.fact(entry)
    with Journal(bundle / FILE_NAME, clock, progress.fact) as journal:
        if cleared:
            journal.append("leftovers.undone", of=[report.bundle.name for report in cleared])
        progress.step(f"bundle {bundle}")
        ending = GuardedRun(loaded, options, bundle, journal, progress, clock, stacks).conduct()
        journal.append("run.finished", status=ending.status, message=ending.message)
    return RunResult(bundle, ending.status, ending.message, _judged(bundle, options, progress))


def _judged(bundle: Path, options: RunOptions, progress: Progress) -> Verdict:
    """The verdict, unless the run is to end at once: all is rolled back by now; judging can wait."""
    try:
        if lever := pulled():
            raise Interrupted(lever.sentence())
        progress.step("judging")
        return judge(bundle, options.runs)
    except Interrupted as reason:
        raise Interrupted(
            f"{reason}; everything is rolled back, the verdict is not made: ragquake evaluate {bundle}"
        ) from None
