"""Runs ended at random moments of their lives, one after the other in one folder: each leaves nothing.

    RAGQUAKE_KILLS=200 RAGQUAKE_SEED=7 pytest -s tests/scenario/test_killed_at_random.py

A moment is an event of the journal and a while after it, so that a slow machine draws the same moments as a
fast one. What may be ended is the runner (by each of the four signals), alone or together with its warden or
its load, and the other two alone. When runner and warden are both killed nobody is left but the lease on the
fault proxy and the hogs themselves; the rest is for `ragquake rollback` or for the next run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.control.fault_proxy import FaultProxyError
from chaos.exit_codes import ExitCode
from tests.scenario.whole_run import (
    RAGQUAKE,
    Remains,
    WholeRun,
    bundles,
    every_fault,
    experiment,
    launch,
    sweep,
)

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("RAGQUAKE_KILLS", "4"))
ANY = 3155 if "CI" in os.environ else random.SystemRandom().randrange(10_000)
SEED = int(os.environ.get("RAGQUAKE_SEED", ANY))
"""In CI the same four every time: runner and warden both killed, a kill while judging, Ctrl-C, a hang-up."""
WITHIN_S = 10.0
"""No fault outlives it: the lease's time to live, and the warden's promise."""
ENDED_WITHIN_S = 120.0
"""For what is not promised to the second: the report of a run that was asked to end, on a busy machine."""
GRACEFUL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FLAP: Mapping[str, Any] = {
    "on": "vector_db",
    "kind": "latency",
    "latency": "200ms",
    "flap": {"on": "500ms", "off": "500ms"},
}
MOMENTS: Mapping[str, tuple[str, int, int, float]] = {
    "before the stack": ("", 1, 1, 3.0),
    "while the stack starts": ("run.started", 1, 1, 6.0),
    "as the load begins": ("load.started", 1, 1, 1.0),
    "in the baseline": ("phase.started", 1, 1, 1.0),
    "while a fault goes in": ("undo.declared", 1, 5, 0.1),
    "with faults in": ("fault.verified", 1, 5, 1.5),
    "while a fault comes out": ("fault.removed", 1, 5, 0.3),
    "at the end of the load": ("phase.ended", 4, 4, 0.5),
    "while judging": ("run.finished", 1, 1, 4.0),
}
"""The line of the journal that is waited for (the first to the n-th of them), and the longest wait after."""
WHO: Mapping[tuple[str, ...], int] = {
    ("runner",): 12,
    ("warden", "runner"): 3,
    ("runner", "journeys"): 2,
    ("warden",): 1,
    ("journeys",): 1,
}


@dataclass(frozen=True, slots=True)
class Blow:
    """When, whom and how: drawn before the run starts."""

    moment: str
    later_s: float
    count: int
    who: tuple[str, ...]
    how: signal.Signals
    faults: tuple[str, ...]
    proxy: str

    @property
    def spares_a_guard(self) -> bool:
        """Whether somebody is left to clean up: the runner itself, or its warden."""
        return not (self.how is signal.SIGKILL and {"runner", "warden"} <= set(self.who))

    def sentence(self) -> str:
        return (
            f"{self.how.name} to {' and '.join(self.who)} {self.moment} "
            f"(+{self.later_s:.2f} s, {self.count}), {self.proxy}, {', '.join(self.faults)}"
        )


def draw(seed: int, number: int) -> Blow:
    """The same blow for the same seed and number, whatever came before."""
    chance = random.Random(f"{seed} {number}")
    moment = chance.choice(list(MOMENTS))
    _, least, most, later_s = MOMENTS[moment]
    who = chance.choices(list(WHO), list(WHO.values()))[0]
    if moment == "before the stack" and "runner" not in who:
        who = ("runner",)  # nobody else is there to be struck
    how = chance.choice((*GRACEFUL, signal.SIGKILL))
    faults = tuple(sorted(chance.sample(sorted(every_fault()), 4)))
    return Blow(
        moment=moment,
        later_s=chance.uniform(0.0, later_s),
        count=chance.randint(least, most),
        who=who,
        how=signal.SIGKILL if who in (("warden",), ("journeys",)) else how,
        faults=faults,
        proxy=chance.choice(("builtin", "builtin", "toxiproxy")),
    )


def plan(blow: Blow) -> str:
    """A short life that has everything: faults going in and out, one that flaps, and a recovery."""
    kinds = every_fault()
    faults = {name: kinds[name] for name in kinds if name in blow.faults} | {"flapping": FLAP}
    phases = [
        {"name": "baseline", "for": "1s"},
        {"name": "fault", "for": "2s", "faults": [name for name in faults if name != "flapping"]},
        {"name": "flap", "for": "2s", "faults": ["flapping"]},
        {"name": "recovery", "for": "1s"},
    ]
    return experiment(faults, phases, rate="3/s")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One folder for all: each run is the next one after the one before."""
    yield tmp_path
    sweep(tmp_path / "runs")


def test_nothing_is_left_of_runs_that_were_ended_at_random(folder: Path, stand_ins: Path) -> None:
    """No fault for longer than 10 s, no process, no bundle that cannot be judged; the next run starts."""
    print(f"\n{KILLS} runs; the same again with RAGQUAKE_KILLS={KILLS} RAGQUAKE_SEED={SEED}")
    owed: set[Path] = set()
    broken = []
    for number in range(KILLS):
        blow = draw(SEED, number)
        began_s = time.monotonic()
        before = bundles(folder / "runs")
        owed = {bundle for bundle in owed if Remains(bundle).left()}
        run = launch(folder, stand_ins, plan(blow), {"RAGQUAKE_PROXY": blow.proxy})
        try:
            struck_s = strike(run, blow, before)
            require_paid(owed, run, before)
            told = examine(run, blow, before, struck_s)
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            run.process.kill()
            run.process.wait()
            broken.append(f"{number + 1}: {blow.sentence()}: {problem}; it said:\n{run.said[:3000]}")
            told = broken[-1]
        if not blow.spares_a_guard:
            owed |= bundles(folder / "runs") - before
        print(f"{number + 1}: {blow.sentence()}: {told}; {time.monotonic() - began_s:.0f} s", flush=True)
    require_the_next_run_is_clean(folder, stand_ins, owed)
    assert broken == []


def strike(run: WholeRun, blow: Blow, before: set[Path]) -> float:
    """Wait for the moment and send the signals; Unix time of the first. A run that has ended is let be."""
    event = MOMENTS[blow.moment][0]
    if event:
        until_s = time.monotonic() + 240.0

        def came() -> bool:
            new = bundles(run.runs) - before
            return any(Remains(bundle).count(event) >= blow.count for bundle in new)

        while not came() and run.process.poll() is None:
            assert time.monotonic() < until_s, f"{event} never came"
            time.sleep(0.01)
        assert came(), f"the run ended by itself before {event}"
    time.sleep(blow.later_s)
    struck_s = time.time()
    for part in blow.who:
        if part == "runner":
            if run.process.poll() is None:
                run.process.send_signal(blow.how)
            continue
        for bundle in bundles(run.runs) - before:
            recorded = Remains(bundle).stack.parts.get(part) if (bundle / "stack.json").exists() else None
            identity = recorded.identity if recorded is not None else None
            if identity is not None and identity.alive:
                os.kill(identity.pid, signal.SIGKILL)
    return struck_s


def require_paid(owed: set[Path], run: WholeRun, before: set[Path]) -> None:
    """What earlier runs had left is gone, and told, once this one has begun to start its stack."""
    if any((bundle / "stack.json").exists() for bundle in bundles(run.runs) - before):
        for bundle in owed:
            assert Remains(bundle).left() == [], f"the next run left something of {bundle}"
            assert bundle.name in run.said, f"the next run did not say that it cleaned up after {bundle}"


def examine(run: WholeRun, blow: Blow, before: set[Path], struck_s: float) -> str:
    """What became of the run; asserts all that is promised."""
    code = run.process.wait(ENDED_WITHIN_S + 120.0 if "runner" not in blow.who else ENDED_WITHIN_S)
    made = bundles(run.runs) - before
    assert len(made) <= 1
    folders = {found for found in run.runs.glob("[!.]*") if found.is_dir() and not found.is_symlink()}
    assert folders <= before | made, "a folder that is no bundle"
    if blow.moment != "before the stack" or made:
        assert "Traceback" not in run.said
    if not made:
        return f"no bundle, exit {code}"
    [bundle] = made
    remains = Remains(bundle)
    if blow.spares_a_guard:
        left = remains.left_after(ENDED_WITHIN_S)
        assert left == []
    else:
        require_only_parts_are_left(remains)
    require_exit(code, blow, remains)
    took_s = last_fault_gone_s(remains) - struck_s
    assert took_s < WITHIN_S, f"a fault outlived the blow by {took_s:.1f} s"
    return f"exit {code}, faults out after {max(0.0, took_s):.1f} s, {judged(bundle)}"


def require_exit(code: int, blow: Blow, remains: Remains) -> None:
    """Never 0 or 1; 130 says a person; only a run that has its verdict may end as any other program would."""
    statuses = [entry["status"] for entry in remains.journal() if entry["event"] == "run.finished"]
    if statuses == ["interrupted"]:
        assert code == ExitCode.INTERRUPTED
    elif statuses == ["error"]:
        assert code == ExitCode.ENVIRONMENT or "runner" in blow.who
    has_verdict = (remains.bundle / "verdict.json").exists()
    by_itself = (ExitCode.INCONCLUSIVE, ExitCode.ENVIRONMENT)
    by_signal = "runner" in blow.who and code == -blow.how and (has_verdict or blow.how is signal.SIGKILL)
    assert code in (*by_itself, ExitCode.INTERRUPTED) or by_signal, f"exit {code}"


def last_fault_gone_s(remains: Remains) -> float:
    """When the last fault was seen to be gone, by the journal; 0 where none ever was in."""
    gone = [entry["at_s"] for entry in remains.journal() if entry["event"] == "fault.verified_gone"]
    return float(max(gone, default=0.0))


def require_only_parts_are_left(remains: Remains) -> None:
    """Runner and warden are gone: what has a lease or looks after itself is out all the same."""
    until_s = time.monotonic() + WITHIN_S + 2.0
    proxy = remains.stack.proxy if (remains.bundle / "stack.json").exists() else None
    while time.monotonic() < until_s:
        kept = [f"hog {one.pid}" for one in remains.hogs() if one.alive]
        if proxy is not None and proxy.kind == "builtin":
            with suppress(FaultProxyError):  # it had not started yet, or is gone, and its faults with it
                kept += remains.on_the_proxies()
        if not kept:
            return
        time.sleep(0.1)
    raise AssertionError(f"still in without runner and warden: {kept}")


def judged(bundle: Path) -> str:
    """The verdict that `ragquake evaluate` gives: one that cannot be a pass, from whatever there is."""
    asked = subprocess.run(
        [RAGQUAKE, "evaluate", bundle, "--json"], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in asked.stderr, asked.stderr
    assert asked.returncode in (ExitCode.INCONCLUSIVE, ExitCode.ENVIRONMENT), asked.stdout + asked.stderr
    verdict = json.loads(asked.stdout)["verdict"]
    assert verdict in ("inconclusive", "error")
    return str(verdict)


def require_the_next_run_is_clean(folder: Path, stand_ins: Path, owed: set[Path]) -> None:
    """A run that nobody ends runs to its end, and after it nothing is left of any."""
    owed = {bundle for bundle in owed if Remains(bundle).left()}
    run = launch(folder, stand_ins, experiment({}, [{"name": "only", "for": "1s"}]), {})
    assert run.process.wait(240) == ExitCode.INCONCLUSIVE, run.said  # too short to prove anything
    require_paid(owed, run, set())
    assert {bundle.name: left for bundle in bundles(run.runs) if (left := Remains(bundle).left())} == {}
    assert list(run.runs.glob(".making-*")) == []
