"""One run of one experiment, from the lock to the verdict.

The order is the design's (section 6): nothing starts before everything is validated; each undo is in the
journal before its fault is in; the faults come out whatever happens; and the verdict is made from the
bundle alone, by the same code that `ragquake evaluate` uses.
"""

from __future__ import annotations

import traceback
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from chaos.clock import Clock, SystemClock
from chaos.control.controls import controls_of
from chaos.control.fault_control import FaultControl
from chaos.control.fault_proxy import FaultProxyError
from chaos.errors import RagquakeError
from chaos.exit_codes import ExitCode
from chaos.experiment import LoadedExperiment
from chaos.experiment.needs import act_on_requests, require_possible, used_faults
from chaos.run.bundle_folder import new_bundle
from chaos.run.journal import FILE_NAME, Journal
from chaos.run.judgement import judge
from chaos.run.live import LiveAttempts
from chaos.run.load import DRAIN_S, JourneysProcess, LoadFiles
from chaos.run.phases import TICK_S, Ending, Phases, Watched
from chaos.run.progress import Progress
from chaos.run.resources import ResourceSampler
from chaos.run.run_facts import tell_plan
from chaos.run.steady_state import check_steady_state
from chaos.safety.interruption import Interrupted, interruptible
from chaos.safety.lease import TTL_S, RunLease
from chaos.safety.leftovers import clear_leftovers
from chaos.safety.lever import heeding_the_lever, pulled
from chaos.safety.lock import run_lock
from chaos.safety.rollback import rollback
from chaos.safety.warden import SUSPENDED_FOR_S, Warden, has_acted, start_warden
from chaos.stack import Stack, open_stack, require_available
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from slo.receiver import Receiver
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
    require_possible(loaded, options.stack, options.llm.llm)
    require_available(options.stack, options.llm, options.state)
    name = loaded.experiment.name
    with (
        run_lock(options.state / "run.lock", f"ragquake run {name}"),
        interruptible(),
        heeding_the_lever(),
        closing(progress),
    ):
        cleared = clear_leftovers(options.runs, progress.step, clock)
        bundle = new_bundle(options.runs, loaded, clock)
        with Journal(bundle / FILE_NAME, clock) as journal:
            if cleared:
                journal.append("leftovers.undone", of=[report.bundle.name for report in cleared])
            progress.step(f"bundle {bundle}")
            ending = _Run(loaded, options, bundle, journal, progress, clock).conduct()
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
            f"stopped by a person ({reason}); everything is rolled back; not judged, which "
            f"ragquake evaluate {bundle} does"
        ) from None


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
    ) -> None:
        self._loaded = loaded
        self._options = options
        self._bundle = bundle
        self._journal = journal
        self._progress = progress
        self._clock = clock

    def conduct(self) -> Ending:
        """Run to an ending, whatever comes; when this returns no fault is in and no part is left running."""
        ending = Ending("error", "the run ended without saying why")
        warden = start_warden(self._bundle)
        try:
            with ExitStack() as stack:
                ending = self._with_evidence(stack, warden)
        except Interrupted as reason:
            ending = Ending("interrupted", f"stopped by a person ({reason})")
        except (RagquakeError, FaultProxyError) as error:
            ending = Ending("error", str(error))
        except Exception as error:
            log = self._bundle / "logs" / "runner.log"
            log.parent.mkdir(exist_ok=True)
            log.write_text(traceback.format_exc())
            ending = Ending(
                "error", f"ragquake itself failed: {type(error).__name__}: {error} (details: {log})"
            )
        finally:
            with interruptible(ignore=True):
                report = rollback(self._bundle, by="runner")
                warden.done()
        if not report.clean:
            return Ending("error", f"{ending.message or ending.status}; then {report.sentence()}")
        if ending.status != "interrupted" and has_acted(self._bundle):
            return Ending("error", STOOD_STILL)
        return ending

    def _with_evidence(self, context: ExitStack, warden: Warden) -> Ending:
        """Start the stack and the generator, then follow the phases."""
        receiver = context.enter_context(Receiver(self._bundle / "otlp"))
        started_s = self._clock.monotonic_s()
        stack = context.enter_context(
            open_stack(
                self._options.stack,
                folder=self._bundle,
                state=self._options.state,
                llm=self._options.llm,
                on_requests=act_on_requests(self._loaded, self._options.llm.llm),
                otlp_endpoint=receiver.endpoint,
                service_settings=self._loaded.experiment.service,
                on_progress=self._progress.step,
            )
        )
        files = LoadFiles.in_bundle(self._bundle)
        stack.adopt("warden", warden.identity, log=warden.log)
        journeys = JourneysProcess(files, self._clock)
        generator = journeys.launch(
            self._loaded, self._bundle.name, stack.service_url, stack.child_environment()
        )
        stack.adopt("journeys", generator, log=files.log)
        context.enter_context(ResourceSampler(self._bundle))
        check_steady_state(stack.service_url)
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
        t0_s = journeys.begin()
        self._journal.append("load.started", t0_s=t0_s)
        watched = Watched(stack, journeys, faults, lease, warden)
        live = LiveAttempts(files.attempts)
        phases = Phases(self._loaded, watched, live, self._journal, self._progress, self._clock)
        ending = phases.follow(t0_s)
        faults.switch_to(())
        lease.end()
        if lease.is_held:
            self._journal.append("lease.ended", lease=lease.name)
        if ending.status == "completed":
            self._drain(journeys, stack)
        self._barrier(stack, receiver)
        return ending

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

    def _barrier(self, stack: Stack, receiver: Receiver) -> None:
        """Ask the service for every span it still holds; without the answer the evidence may be short."""
        try:
            last_seq = stack.flush()
        except RagquakeError as error:
            self._journal.append("barrier.failed", reason=str(error))
            return
        self._journal.append("barrier.passed", last_seq=last_seq, spans=receiver.spans)
