"""One run of one experiment, from the lock to the verdict.

The order is the design's (section 6): nothing starts before everything is validated; each undo is in the
journal before its fault is in; the faults come out whatever happens; and the verdict is made from the
bundle alone, by the same code that `ragquake evaluate` uses.
"""

from __future__ import annotations

import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import __version__
from chaos.bundle_folder import new_bundle, write_inputs
from chaos.clock import Clock, SystemClock
from chaos.controls import controls_of
from chaos.errors import RagquakeError
from chaos.exit_codes import ExitCode
from chaos.experiment import LoadedExperiment, PlannedPhase
from chaos.fault_control import FaultControl
from chaos.fault_proxy import FaultProxyError
from chaos.interruption import Interrupted, interruptible
from chaos.journal import Journal
from chaos.judgement import judge
from chaos.lease import TTL_S, RunLease
from chaos.live import LiveAttempts
from chaos.load import DRAIN_S, JourneysProcess, LoadFiles
from chaos.lock import run_lock, safety_lever
from chaos.needs import act_on_requests, require_possible, used_faults
from chaos.progress import Moment, Progress
from chaos.resources import ResourceSampler
from chaos.rollback import rollback
from chaos.stack import Stack, open_stack, require_available
from chaos.stack.model_servers import SIMULATOR, LlmRequest
from chaos.steady_state import check_steady_state
from chaos.stop_conditions import StopWatch
from chaos.warden import Warden, start_warden
from slo.receiver import Receiver
from slo.verdict import Verdict

TICK_S = 0.2
BREAKERS_EVERY_S = 1.0
FIGURES_WINDOW_S = 5.0


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


@dataclass(frozen=True, slots=True)
class _Ending:
    status: str
    message: str = ""


def run_experiment(
    loaded: LoadedExperiment, options: RunOptions, progress: Progress, clock: Clock | None = None
) -> RunResult:
    """Run an experiment and judge it.

    Raises RunRefused when it may not start, DocumentError when the stack has nobody to commit a fault,
    StackError when the model server it asks for is not to be had; all else ends in a verdict.
    """
    clock = clock or SystemClock()
    require_possible(loaded, options.stack, options.llm.llm)
    require_available(options.stack, options.llm, options.state)
    name = loaded.experiment.name
    with run_lock(options.state / "run.lock", f"ragquake run {name}"), interruptible():
        bundle = new_bundle(options.runs, name, clock)
        with Journal(bundle / "journal.jsonl", clock) as journal:
            write_inputs(bundle, loaded)
            _announce(journal, bundle, loaded)
            progress.step(f"bundle {bundle}")
            ending = _Run(loaded, options, bundle, journal, progress, clock).conduct()
            journal.append("run.finished", status=ending.status, message=ending.message)
        progress.step("judging")
        verdict = judge(bundle, options.runs)
        progress.close()
        return RunResult(bundle, ending.status, ending.message, verdict)


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
        self._live = LiveAttempts(LoadFiles.in_bundle(bundle).attempts)
        self._breakers: dict[str, str] = {}
        self._breakers_at_s = 0.0

    def conduct(self) -> _Ending:
        """Run to an ending, whatever comes; when this returns no fault is in and no part is left running."""
        ending = _Ending("error", "the run ended without saying why")
        warden = start_warden(self._bundle)
        try:
            with ExitStack() as stack:
                ending = self._with_evidence(stack, warden)
        except Interrupted:
            ending = _Ending("interrupted", "stopped by a person")
        except (RagquakeError, FaultProxyError) as error:
            ending = _Ending("error", str(error))
        except Exception as error:
            log = self._bundle / "logs" / "runner.log"
            log.parent.mkdir(exist_ok=True)
            log.write_text(traceback.format_exc())
            ending = _Ending(
                "error", f"ragquake itself failed: {type(error).__name__}: {error} (details: {log})"
            )
        finally:
            with interruptible(ignore=True):
                rollback(self._bundle, by="runner")
                warden.done()
        return ending

    def _with_evidence(self, context: ExitStack, warden: Warden) -> _Ending:
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
        self._plan(ready)
        at = controls_of(stack, lease=self._bundle.name)
        lease = RunLease(at.builtin, self._bundle.name) if at.builtin is not None else None
        faults = FaultControl(used_faults(self._loaded), at, self._journal, self._clock)
        faults.check()
        if lease is not None:
            context.callback(lease.close)
            lease.begin()
            self._journal.append("lease.begun", lease=lease.name, ttl_s=TTL_S)
        context.callback(faults.withdraw)
        t0_s = journeys.begin()
        self._journal.append("load.started", t0_s=t0_s)
        ending = self._follow_phases(t0_s, stack, journeys, faults, lease)
        faults.switch_to(())
        if lease is not None:
            lease.end()
            self._journal.append("lease.ended", lease=lease.name)
        if ending.status == "completed":
            self._drain(journeys, stack)
        self._barrier(stack, receiver)
        return ending

    def _plan(self, ready: Any) -> None:
        phases = [
            {
                "name": phase.name,
                "start_s": phase.start_s,
                "end_s": phase.end_s,
                "rate_per_s": phase.rate_per_s,
                "faults": list(phase.faults),
                "judged": phase.judged,
            }
            for phase in self._loaded.phases
        ]
        faults = {
            name: {
                "on": fault.on,
                "kind": fault.kind,
                "parameters": dict(fault.parameters())
                | (fault.over_time.sentences() if fault.over_time else {}),
                "expects": dict(fault.expects() or {}),
            }
            for name, fault in self._loaded.faults.items()
        }
        self._journal.append("run.planned", phases=phases, faults=faults, arrivals=ready["arrivals"])

    def _follow_phases(
        self,
        t0_s: float,
        stack: Stack,
        journeys: JourneysProcess,
        faults: FaultControl,
        lease: RunLease | None,
    ) -> _Ending:
        watch = StopWatch(self._loaded.experiment.stop_when)
        phases = self._loaded.phases
        for phase in phases:
            self._sleep_until(t0_s + phase.start_s)
            self._journal.append("phase.started", phase=phase.name)
            faults.switch_to(phase.faults)
            while (now_s := self._clock.unix_s()) < t0_s + phase.end_s:
                self._live.poll(now_s)
                self._show(phase, now_s - t0_s, phases[-1].end_s, stack, faults)
                journeys.check_alive()
                stack.require_alive()
                if lease is not None:
                    lease.require()
                faults.tick()
                if triggered := watch.look(self._live, now_s):
                    self._journal.append(
                        "stop.triggered", condition=triggered.condition, observed=triggered.observed
                    )
                    self._journal.append("phase.ended", phase=phase.name)
                    return _Ending("stopped", f"stop condition: {triggered.condition}: {triggered.observed}")
                if safety_lever().exists():
                    raise Interrupted(f"the safety lever {safety_lever()} was pulled")
                self._clock.sleep(min(TICK_S, t0_s + phase.end_s - self._clock.unix_s()))
            self._journal.append("phase.ended", phase=phase.name)
        return _Ending("completed")

    def _show(
        self, phase: PlannedPhase, elapsed_s: float, total_s: float, stack: Stack, faults: FaultControl
    ) -> None:
        if elapsed_s - self._breakers_at_s >= BREAKERS_EVERY_S:
            self._breakers_at_s = elapsed_s
            self._breakers = stack.breaker_states()
        self._progress.moment(
            Moment(
                phase=phase.name,
                elapsed_s=elapsed_s,
                left_s=max(0.0, total_s - elapsed_s),
                planned_rate_per_s=phase.rate_per_s,
                figures=self._live.figures(self._clock.unix_s(), FIGURES_WINDOW_S),
                faults=faults.active,
                breakers=self._breakers,
            )
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

    def _barrier(self, stack: Stack, receiver: Receiver) -> None:
        """Ask the service for every span it still holds; without the answer the evidence may be short."""
        try:
            last_seq = stack.flush()
        except RagquakeError as error:
            self._journal.append("barrier.failed", reason=str(error))
            return
        self._journal.append("barrier.passed", last_seq=last_seq, spans=receiver.spans)

    def _sleep_until(self, unix_s: float) -> None:
        while (left_s := unix_s - self._clock.unix_s()) > 0:
            self._clock.sleep(min(left_s, TICK_S))


def _announce(journal: Journal, bundle: Path, loaded: LoadedExperiment) -> None:
    experiment = loaded.experiment
    journal.append(
        "run.started",
        run_id=bundle.name,
        experiment=experiment.name,
        title=experiment.title,
        hypothesis=experiment.hypothesis,
        owner=experiment.owner,
        incidents=list(experiment.incidents),
        ragquake=__version__,
        seed=experiment.load.seed,
        overrides=list(loaded.overrides),
    )
