"""One run of one experiment, from the lock to the verdict.

The order is the design's (section 6): nothing starts before everything is validated; each undo is in the
journal before its fault is in; the faults come out whatever happens; and the verdict is made from the
bundle alone, by the same code that `ragquake evaluate` uses.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chaos.clock import Clock, SystemClock
from chaos.control.controls import controls_of
from chaos.control.fault_control import FaultControl
from chaos.control.fault_proxy import FaultProxyError
from chaos.errors import RagquakeError
from chaos.exit_codes import ExitCode
from chaos.experiment import LoadedExperiment
from chaos.experiment.needs import act_on_requests, require_possible, seen_through, used_faults
from chaos.run.barriers import Barriers
from chaos.run.bundle_folder import new_bundle
from chaos.run.journal import FILE_NAME, Journal, read
from chaos.run.judgement import judge
from chaos.run.live import LiveAttempts
from chaos.run.load import DRAIN_S, STOP_WITHIN_S, JourneysProcess, LoadFiles
from chaos.run.phases import TICK_S, Ending, Phases, Watched
from chaos.run.progress import Progress
from chaos.run.resources import ResourceSampler
from chaos.run.run_facts import tell_plan
from chaos.run.run_stack import RunStack, StackNeed
from chaos.run.stacks import FreshStacks, Stacks
from chaos.run.steady_state import require_steady_state, tell_whether_well_again
from chaos.run.stop_watch import StopWatch, require_sight, span_segments
from chaos.safety.interruption import Interrupted, interruptible
from chaos.safety.lease import TTL_S, RunLease
from chaos.safety.leftovers import clear_leftovers
from chaos.safety.lever import heeding_the_lever, pulled
from chaos.safety.lock import run_lock, stack_locks
from chaos.safety.rollback import RollbackReport, rollback
from chaos.safety.warden import SUSPENDED_FOR_S, Warden, has_acted, start_warden
from chaos.stack import Stack, require_available, require_kind
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from chaos.stack.target import AttachedTarget
from slo.documents import DocumentError
from slo.live import LiveSpans
from slo.verdict import Verdict

STOOD_STILL = (
    f"the run stood still for more than {SUSPENDED_FOR_S:.0f} s (Ctrl-Z, SIGSTOP), so its warden took its "
    f"faults out and stopped its stack; run it again"
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run leaves its traces and what it runs on."""

    runs: Path = Path("runs")
    state: Path = Path(".ragquake")
    stack: str = "local"
    llm: LlmRequest = SIMULATOR
    owned: bool = False
    """--i-own-this-target: what a target file lists may be public, link-local or a metadata service."""
    target: AttachedTarget | None = None
    """The stack that runs already, where `stack` is a file: decided here, once, for all that a run dials."""

    redact: bool = False
    """--redact: leave the text of questions and answers out of the bundle."""

    def __post_init__(self) -> None:
        if self.target is None or self.target.path != Path(self.stack):
            object.__setattr__(self, "target", require_kind(self.stack, owned=self.owned))
        if self.redact and self.stack == "compose":
            raise DocumentError(
                [
                    "--redact: the containers of --stack compose write their telemetry themselves, texts "
                    "and all; allowed with --stack local and with a target file"
                ]
            )


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
        ending = _Run(loaded, options, bundle, journal, progress, clock, stacks).conduct()
        journal.append("run.finished", status=ending.status, message=ending.message)
    return RunResult(bundle, ending.status, ending.message, _judged(bundle, options, progress))


def need_of(loaded: LoadedExperiment, options: RunOptions) -> StackNeed:
    """What a run of this experiment needs of its stack."""
    return StackNeed(
        kind=options.stack,
        state=options.state,
        llm=options.llm,
        on_requests=act_on_requests(loaded, options.llm.llm if options.target is None else "its own"),
        settings=loaded.experiment.service,
        target=options.target,
    )


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


def _stopped_by(reason: object) -> Ending:
    return Ending("interrupted", f"stopped by a person ({reason})")


class _Run:
    """The part of a run that needs cleaning up after."""

    def __init__(
        self,
        loaded: LoadedExperiment,
        options: RunOptions,
        bundle: Path,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        stacks: Stacks,
    ) -> None:
        self._loaded = loaded
        self._options = options
        self._bundle = bundle
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._stacks = stacks
        self._on: RunStack | None = None

    def conduct(self) -> Ending:
        """Run to an ending, whatever comes; when this returns no fault is in, and no part is left running but
        those of a stack that goes on."""
        ending = Ending("error", "the run ended without saying why")
        warden = start_warden(self._bundle)
        try:
            with ExitStack() as stack:
                ending = self._with_evidence(stack, warden)
        except Interrupted as reason:
            ending = _stopped_by(reason)
        except (RagquakeError, FaultProxyError) as error:
            ending = Ending("error", str(error))
        except Exception as error:
            log = self._bundle / "logs" / "runner.log"
            with suppress(OSError):
                log.parent.mkdir(exist_ok=True)
                log.write_text(traceback.format_exc())
            ending = Ending(
                "error", f"ragquake itself failed: {type(error).__name__}: {error} (details: {log})"
            )
        finally:
            with interruptible(ignore=True):
                goes_on = self._on is not None and self._on.goes_on
                heard = len(read(self._journal.path))
                report = rollback(self._bundle, by="runner", stack_goes_on=goes_on)
                warden.done()
                for entry in read(self._journal.path)[heard:]:  # it writes with a journal of its own
                    self._progress.fact(entry)
        if not report.clean:
            return Ending("error", f"{ending.message or ending.status}; then {report.sentence()}")
        if ending.status != "interrupted" and has_acted(self._bundle):
            lever = pulled()
            return _stopped_by(lever.sentence()) if lever else Ending("error", STOOD_STILL)
        return ending

    def _with_evidence(self, context: ExitStack, warden: Warden) -> Ending:
        """Start the stack and the generator, then follow the phases."""
        spans = self._live_spans()
        started_s = self._clock.monotonic_s()
        need = need_of(self._loaded, self._options)
        on = self._stacks.for_run(need, self._bundle, self._progress.step, spans.take)
        self._on = context.enter_context(on)
        stack, receiver = self._on.stack, self._on.receiver
        if self._options.redact:
            receiver.redact()
        files = LoadFiles.in_bundle(self._bundle)
        stack.adopt("warden", warden.identity, log=warden.log)
        journeys = JourneysProcess(files, self._clock)
        generator = journeys.launch(
            self._loaded,
            self._bundle.name,
            stack.service_url,
            stack.child_environment(),
            redact=self._options.redact,
        )
        stack.adopt("journeys", generator, log=files.log)
        context.enter_context(ResourceSampler(self._bundle))
        require_steady_state(stack, self._loaded.experiment.load.patience, self._journal)
        require_sight(self._loaded.experiment.stop_when, lambda: receiver.spans, self._clock)
        self._journal.append("stack.ready", took_s=round(self._clock.monotonic_s() - started_s, 3))
        ready = journeys.wait_ready(stack.require_alive)
        tell_plan(self._journal, self._loaded, ready["arrivals"])
        at = controls_of(stack, lease=self._bundle.name)
        lease = RunLease(at.builtin, self._bundle.name, self._clock)
        faults = FaultControl(used_faults(self._loaded), at, self._journal, self._clock)
        faults.check()
        context.callback(lease.close)
        lease.begin()
        if lease.is_held:
            self._journal.append("lease.begun", lease=lease.name, ttl_s=TTL_S)
        context.callback(faults.withdraw)
        barriers = Barriers(stack.flush, lambda: receiver.spans, self._journal)
        context.callback(barriers.close)
        t0_s = journeys.begin()
        self._journal.append("load.started", t0_s=t0_s)
        live = LiveAttempts(files.attempts, files.started)
        with self._stop_watch(live, spans, journeys, t0_s) as stop:
            watched = Watched(stack, journeys, faults, lease, warden, stop)
            phases = Phases(self._loaded, watched, live, barriers, self._journal, self._progress, self._clock)
            ending = phases.follow(t0_s)
        faults.switch_to(())
        lease.end()
        if lease.is_held:
            self._journal.append("lease.ended", lease=lease.name)
        if ending.status == "completed":
            self._drain(journeys, stack)
        else:
            self._see_off(journeys)
        tell_whether_well_again(stack, self._journal, self._progress)
        barriers.finish()
        self._on.reusable = ending.status == "completed" and not barriers.lost
        return ending

    def _live_spans(self) -> LiveSpans:
        """The spans as they arrive, of the segments that stop conditions are about."""
        segments = span_segments(self._loaded.experiment.stop_when)
        return LiveSpans(self._loaded.objectives.table, segments, self._clock.unix_s)

    def _stop_watch(
        self, live: LiveAttempts, spans: LiveSpans, journeys: JourneysProcess, t0_s: float
    ) -> StopWatch:
        experiment = self._loaded.experiment
        return StopWatch(
            experiment.stop_when,
            live,
            spans,
            self._journal,
            journeys.stop,
            self._clock,
            from_s=t0_s,
            patience_s=experiment.load.patience,
        )

    def _drain(self, journeys: JourneysProcess, stack: Stack) -> None:
        """Let the attempts in flight end; the generator closes what its patience does not wait for."""
        self._progress.step("waiting for the last answers")
        until_s = self._clock.monotonic_s() + DRAIN_S + 15.0
        while (code := journeys.ended()) is None and self._clock.monotonic_s() < until_s:
            stack.require_alive()
            self._clock.sleep(TICK_S)
        self._journal.append("load.ended", exit_code=code)
        if code != 0:
            ended = "did not end" if code is None else f"ended with exit code {code}"
            raise RagquakeError(
                f"the journeys {ended}; their log is {self._bundle / 'logs' / 'journeys.log'}"
            )

    def _see_off(self, journeys: JourneysProcess) -> None:
        """The load was told to stop; wait until it has, so that its last lines are written."""
        until_s = self._clock.monotonic_s() + STOP_WITHIN_S
        while (code := journeys.ended()) is None and self._clock.monotonic_s() < until_s:
            self._clock.sleep(TICK_S)
        self._journal.append("load.ended", exit_code=code)
