"""The journeys as a subprocess: Locust patches the interpreter, so it never shares one with the runner.

The handshake keeps the schedule honest: the generator says when it is warm, and only then is t0 set, so
that a slow import is not counted as a late arrival.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.clock import Clock
from chaos.errors import EnvironmentFailure
from chaos.experiment import LoadedExperiment
from chaos.journeys_folder import journeys_folder

PLAN_VARIABLE = "RAGQUAKE_JOURNEYS_PLAN"
READY_TIMEOUT_S = 60.0
LEAD_S = 1.0
"""From the decision to start until t0: longer than the generator needs to notice."""
DRAIN_S = 12.0
"""How long attempts in flight may go on after the last phase: the patience of a user and a little more."""

STOP_WITHIN_S = 10.0
"""A generator that is told to stop closes its attempts (5 s at most) and writes their lines."""


@dataclass(frozen=True, slots=True)
class LoadFiles:
    """The files through which the runner and the generator talk."""

    plan: Path
    ready: Path
    start: Path
    attempts: Path
    started: Path
    log: Path

    @classmethod
    def in_bundle(cls, bundle: Path) -> LoadFiles:
        return cls(
            plan=bundle / "journeys.plan.json",
            ready=bundle / "journeys.ready",
            start=bundle / "journeys.start",
            attempts=bundle / "attempts.jsonl",
            started=bundle / "started.jsonl",
            log=bundle / "logs" / "journeys.log",
        )


class JourneysProcess:
    """One Locust process that follows one plan."""

    def __init__(self, files: LoadFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self.process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def launch(
        self,
        loaded: LoadedExperiment,
        run_id: str,
        target: str,
        environment: Mapping[str, str],
        *,
        redact: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Write the plan and start Locust; it then imports and warms up."""
        plan = plan_for(loaded, run_id, target, self._files) | {"redact": redact}
        self._files.plan.write_text(json.dumps(plan, indent=1))
        self._files.attempts.touch()
        self._files.log.parent.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in environment.items() if not name.startswith("LOCUST_")}
        with self._files.log.open("ab") as log:
            self.process = subprocess.Popen(
                command(target),
                env=inherited | {PLAN_VARIABLE: str(self._files.plan.resolve())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def wait_ready(self, while_waiting: Callable[[], None] = lambda: None) -> Mapping[str, Any]:
        """What the generator says when it is warm. Raises EnvironmentFailure when it dies or is slow."""
        deadline_s = self._clock.monotonic_s() + READY_TIMEOUT_S
        while self._clock.monotonic_s() < deadline_s:
            if self._files.ready.exists():
                ready: dict[str, Any] = json.loads(self._files.ready.read_text())
                return ready
            if self.ended() is not None:
                raise self._ended_early()
            while_waiting()
            self._clock.sleep(0.05)
        raise EnvironmentFailure(
            f"the journeys were not ready within {READY_TIMEOUT_S:g} s; their log is {self._files.log}"
        )

    def begin(self) -> float:
        """Set t0 a moment ahead and tell the generator. Returns t0, Unix seconds."""
        t0_s = round(self._clock.unix_s() + LEAD_S, 3)
        temporary = self._files.start.with_suffix(".tmp")
        temporary.write_text(json.dumps({"t0_s": t0_s}))
        temporary.replace(self._files.start)
        return t0_s

    def check_alive(self) -> None:
        """Raises EnvironmentFailure when the generator has died, with the end of its log.

        One that ends with 0 has driven its schedule to the end: on a busy machine the runner sees that before
        it sees that its last phase is over.
        """
        if not self._stopped and self.ended() not in (None, 0):
            raise self._ended_early()

    def _ended_early(self) -> EnvironmentFailure:
        tail = self._files.log.read_text(errors="replace").strip().splitlines()[-8:]
        return EnvironmentFailure(
            f"the journeys ended early (exit {self.ended()}); the end of {self._files.log}:\n  "
            + "\n  ".join(tail)
        )

    def stop(self) -> None:
        """Ask the generator to end: no more arrivals from now on. For any thread; waits for nothing."""
        self._stopped = True
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.terminate()
                self.process.send_signal(signal.SIGCONT)  # one that was suspended would not hear it

    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll() if self.process else None


def command(target: str) -> list[str]:
    """Locust, headless and quiet, on this package's locustfile."""
    locustfile = journeys_folder() / "locustfile.py"
    options = ["--headless", "--users", "1", "--spawn-rate", "1", "--only-summary", "--loglevel", "WARNING"]
    return [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", target, *options]


def plan_for(loaded: LoadedExperiment, run_id: str, target: str, files: LoadFiles) -> dict[str, Any]:
    """The plan that journeys read (docs/design/0001, section 3)."""
    load = loaded.experiment.load
    phases = [
        {"name": p.name, "start_s": p.start_s, "end_s": p.end_s, "rate_per_s": p.rate_per_s, "curve": p.curve}
        for p in loaded.phases
    ]
    return {
        "run_id": run_id,
        "target": target,
        "seed": load.seed,
        "arrivals": load.arrivals,
        "phases": phases,
        "journeys": dict(load.journeys),
        "max_in_flight": load.max_in_flight,
        "patience_s": load.patience,
        "drain_s": DRAIN_S,
        "questions": None,
        "attempts": str(files.attempts.resolve()),
        "started": str(files.started.resolve()),
        "ready": str(files.ready.resolve()),
        "start": str(files.start.resolve()),
    }
