"""Stop conditions in whole runs: in time, whatever else stands still; the journal has what was seen."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from chaos.exit_codes import ExitCode
from chaos.run.journal import outstanding_undos
from slo.evaluator import evaluate
from tests.scenario.whole_run import WholeRun, experiment, whole_run

pytestmark = pytest.mark.slow
AT_MOST_S = 2.0
"""From the moment at which the condition has held for its time to its line in the journal."""
AT_LEAST_S = -1.0
"""A window's second is the finest that a condition is judged by."""
ENDS_WITHIN_S = 120.0
SLOW = {"slow-vector-db": {"on": "vector_db", "kind": "latency", "latency": "2s"}}
UNPROTECTED = {"resilience": "off"}


def stoppable(
    condition: Mapping[str, Any],
    faults: Mapping[str, Mapping[str, Any]],
    service: Mapping[str, str] = UNPROTECTED,
) -> str:
    phases = [
        {"name": "baseline", "for": "5s"},
        {"name": "fault", "for": "90s", "faults": list(faults)},
    ]
    written = json.loads(experiment(faults, phases, rate="8/s"))
    return json.dumps(written | {"stop_when": [condition], "service": service})


def event(run: WholeRun, name: str) -> dict[str, Any]:
    return next(entry for entry in run.journal() if entry["event"] == name)


def ended_stopped(run: WholeRun) -> int:
    """The exit code of a run that was stopped, with nothing of it left."""
    code = run.process.wait(ENDS_WITHIN_S)
    finished = event(run, "run.finished")
    assert finished["status"] == "stopped", run.said
    assert event(run, "stop.triggered")["condition"] in finished["message"]
    assert "Traceback" not in run.said
    assert outstanding_undos(run.journal()) == [] and run.left() == []
    return code


def held_from_s(run: WholeRun, longer_than_s: float) -> float:
    """When the first search that was too slow had ended, by the evidence and not by what the run believed."""
    [(end_s,)] = duckdb.execute(
        "SELECT min((epoch_ns(Timestamp) + Duration) / 1e9) AS end_s FROM read_parquet(?)"
        " WHERE SpanName LIKE 'search %' AND Duration / 1e9 > ? AND epoch_ns(Timestamp) / 1e9 > ?",
        [str(run.bundle / "spans.parquet"), longer_than_s, event(run, "load.started")["t0_s"]],
    ).fetchall()
    return float(end_s)


def test_a_condition_on_a_segment_stops_the_run_within_two_seconds(tmp_path: Path, stand_ins: Path) -> None:
    """Condition, value, limit, samples and who waited stand in the journal; the verdict is a failure."""
    condition = {"segment": "search", "indicator": "p95", "above": "1s", "for": "4s"}
    with whole_run(tmp_path, stand_ins, stoppable(condition, SLOW), {}) as run:
        code = ended_stopped(run)
        stop = event(run, "stop.triggered")
        late_s = stop["at_s"] - (held_from_s(run, 1.0) + 4.0)
        gates = {one.name: one for one in evaluate(run.bundle).gates}

    assert AT_LEAST_S <= late_s <= AT_MOST_S, late_s
    assert stop["condition"] == "search p95 above 1 s for 4 s"
    assert stop["value"] > stop["limit"] == 1.0 and stop["samples"] >= 5 and stop["in_flight"] > 0
    assert 1.0 <= stop["window_s"] <= 5.0
    honest = gates["load"].verdict == "pass"  # not on a machine so busy that users came late
    assert code == (ExitCode.FAILED if honest else ExitCode.INCONCLUSIVE), gates
    assert honest or "late" in gates["load"].message, gates


def test_a_generator_that_stands_still_saves_nobody(tmp_path: Path, stand_ins: Path) -> None:
    """Suspended when the breach has begun: what the spans showed is enough, and their silence no recovery."""
    condition = {"segment": "search", "indicator": "p95", "above": "1s", "for": "8s"}
    with whole_run(tmp_path, stand_ins, stoppable(condition, SLOW), {}) as run:
        run.wait_until(lambda: run.count("fault.verified") == 1, "the fault")
        fault_s = event(run, "fault.verified")["at_s"]
        run.wait_until(lambda: time.time() > fault_s + 6.0, "the breach")
        os.kill(run.identity("journeys").pid, signal.SIGSTOP)
        code = ended_stopped(run)
        late_s = event(run, "stop.triggered")["at_s"] - (held_from_s(run, 1.0) + 8.0)

    assert AT_LEAST_S <= late_s <= AT_MOST_S, late_s
    assert code in (ExitCode.FAILED, ExitCode.INCONCLUSIVE)


def test_a_wait_for_a_part_is_cut_short(tmp_path: Path, stand_ins: Path) -> None:
    """The phase loop stands still while the service starts again; users get errors: the run is stopped."""
    condition = {"segment": "journey", "indicator": "error_ratio", "above": "50%", "for": "1s"}
    faults = {"new-service": {"on": "service", "kind": "restart", "grace": "0s"}, **SLOW}
    with whole_run(tmp_path, stand_ins, stoppable(condition, faults), {}) as run:
        ended_stopped(run)
        events = [entry["event"] for entry in run.journal()]

    assert "fault.injected" not in events  # the restart never came to its end
    assert (
        events.index("undo.declared") < events.index("stop.triggered") < events.index("fault.verified_gone")
    )
