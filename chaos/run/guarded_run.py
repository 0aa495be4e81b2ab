"""What of a run needs cleaning up after: from its warden to its rollback.

Nobody is to be left with a fault, whatever comes: an error, an impatient person, a bug of ours. So all that
can hurt happens within one `try`, and its `finally` undoes by the journal, as a stranger would.
"""

from __future__ import annotations

import traceback
from contextlib import ExitStack, suppress
from pathlib import Path

from chaos.clock import Clock
from chaos.control.controls import controls_of
from chaos.control.fault_control import FaultControl
from chaos.control.fault_proxy import FaultProxyError
from chaos.errors import RagquakeError
from chaos.experiment import LoadedExperiment
from chaos.experiment.needs import used_faults
from chaos.run.barriers import Barriers
from chaos.run.journal import Journal, read
from chaos.run.live import LiveAttempts
from chaos.run.load import DRAIN_S, STOP_WITHIN_S, JourneysProcess, LoadFiles
from chaos.run.options import RunOptions, need_of
from chaos.run.phases import TICK_S, Ending, Phases, Watched
from chaos.run.progress import Progress
from chaos.run.resources import ResourceSampler
from chaos.run.run_facts import tell_plan
from chaos.run.run_stack import RunStack
from chaos.run.stacks import Stacks
from chaos.run.steady_state import require_steady_state, tell_whether_well_again
from chaos.run.stop_watch import StopWatch, require_sight, span_segments
from chaos.safety.interruption import Interrupted, interruptible
from chaos.safety.lease import TTL_S, RunLease
from chaos.safety.lever import pulled
from chaos.safety.rollback import rollback
from chaos.safety.warden import SUSPENDED_FOR_S, Warden, has_acted, start_warden
from chaos.stack.opening import Stack
from slo.live import LiveSpans

STOOD_STILL = (
    f"the run stood still for more than {SUSPENDED_FOR_S:.0f} s (Ctrl-Z, SIGSTOP), so its warden took its "
    f"faults out and stopped its stack; run it again"
)


def _stopped_by(reason: object) -> Ending:
    return Ending("interrupted", f"stopped by a person ({reason})")


class GuardedRun:
    """One run on one stack, in the bundle that is there for it."""

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
            phases.follow(t0_s)
        ending = phases.ending()
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
