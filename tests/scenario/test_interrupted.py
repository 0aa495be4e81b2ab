"""Ctrl-C in the worst moments of a run: nothing of it is left, and it says 130 within seconds.

Each moment is found in the journal, which is on disk before the deed that it tells of; a random wait of some
milliseconds then decides between writing and doing. RAGQUAKE_INTERRUPTS says how often each is tried (1).
What is timed is the undoing: the report that a run writes afterwards takes its time on a busy machine.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.exit_codes import ExitCode
from tests.scenario.whole_run import BASELINE, every_fault, experiment, whole_run

pytestmark = pytest.mark.slow
TRIES = int(os.environ.get("RAGQUAKE_INTERRUPTS", "1"))
WITHIN_S = 15.0
"""A quiet machine takes 2 s; a part that does not listen gets a grace of 5 s."""
FLAPPING: Mapping[str, Mapping[str, Any]] = {
    "blinking": {"on": "vector_db", "kind": "down", "flap": {"on": "500ms", "off": "500ms"}},
    "stuttering": {"on": "llm", "kind": "pause", "flap": {"on": "500ms", "off": "700ms"}},
}
RAMP: Mapping[str, Mapping[str, Any]] = {
    "slower": {"on": "vector_db", "kind": "latency", "ramp": {"latency": ["0s", "2s"], "over": "60s"}}
}
RESTART: Mapping[str, Mapping[str, Any]] = {"new-service": {"on": "service", "kind": "restart"}}


@dataclass(frozen=True, slots=True)
class Moment:
    """After so many lines of an event, within so many seconds; `for_s` is how long the faults stay in."""

    event: str
    count: int
    later_s: float
    faults: Mapping[str, Mapping[str, Any]]
    for_s: float = 300.0


def moments() -> dict[str, Moment]:
    """Where an interruption could leave something behind."""
    everything = every_fault()
    return {
        "while faults go in": Moment("undo.declared", random.randint(1, len(everything)), 0.05, everything),
        "while faults come out": Moment("fault.removed", random.randint(1, 8), 0.3, everything, for_s=3.0),
        "in a flap": Moment("fault.injected", 5, 0.5, FLAPPING),
        "in a ramp": Moment("fault.changed", 2, 0.5, RAMP),
        "while a part starts again": Moment("undo.declared", 1, 1.5, RESTART),
    }


@pytest.mark.parametrize(
    ("when", "proxy", "times"),
    [
        ("while faults go in", "builtin", 1),
        ("while faults go in", "toxiproxy", 2),
        ("while faults come out", "builtin", 2),
        ("while faults come out", "toxiproxy", 1),
        ("in a flap", "toxiproxy", 1),
        ("in a ramp", "builtin", 1),
        ("while a part starts again", "builtin", 1),
    ],
)
@pytest.mark.parametrize("attempt", range(TRIES))
def test_nothing_is_left_of_an_interrupted_run(
    tmp_path: Path, stand_ins: Path, when: str, proxy: str, times: int, attempt: int
) -> None:
    """Nor of one whose person is impatient and presses twice."""
    random.seed(f"{when} {proxy} {attempt}")
    moment = moments()[when]
    names = list(moment.faults)
    phases = [
        BASELINE,
        {"name": "fault", "for": f"{moment.for_s:g}s", "faults": names},
        {"name": "recovery", "for": "300s"},
    ]
    text = experiment(moment.faults, phases)
    with whole_run(tmp_path, stand_ins, text, {"RAGQUAKE_PROXY": proxy}) as run:
        run.wait_until(lambda: run.count(moment.event) >= moment.count, when)
        time.sleep(random.uniform(0.0, moment.later_s))
        pressed_s = time.time()
        for _ in range(times):
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert run.process.wait(120) == ExitCode.INTERRUPTED, run.said
        assert run.left() == []
        assert "Traceback" not in run.said
        [finished] = [entry for entry in run.journal() if entry["event"] == "run.finished"]
        assert finished["status"] == "interrupted"
        took_s = finished["at_s"] - pressed_s
        print(f"{when}: undone {took_s:.1f} s after Ctrl-C")
        assert took_s < WITHIN_S
