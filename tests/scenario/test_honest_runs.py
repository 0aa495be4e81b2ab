"""Real runs that could have looked like a pass: each proves nothing, says why, and exits with 3.

The control is the same run with nothing wrong, and it passes. Losses are made afterwards, in copies of its
bundle.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chaos.exit_codes import ExitCode
from slo.evaluator import evaluate
from slo.verdict import Verdict
from tests.scenario.whole_run import WholeRun, experiment, whole_run

pytestmark = pytest.mark.slow
ENDS_WITHIN_S = 180.0
TRIES = 3
"""For the control: a busy machine starves the generator, which is exactly what its gate is there to see."""
FAULTS = {"slow-vector-db": {"on": "vector_db", "kind": "latency", "latency": "2s"}}
PHASES = [
    {"name": "warmup", "for": "3s", "judged": False},
    {"name": "baseline", "for": "9s"},
    {"name": "fault", "for": "9s", "faults": list(FAULTS)},
    {"name": "recovery", "for": "9s"},
]
OBJECTIVES = [
    {"name": "answered", "segment": "journey", "indicator": "good_ratio", "target": ">= 60%"},
    {"name": "honest", "segment": "request", "indicator": "undeclared_degraded_ratio", "target": "= 0%"},
]
ASSERTIONS = [{"breaker_opens": {"breaker": "vector_db", "within": "9s"}}]
ASTRAY = """
import os
if "RAG_VECTOR_DB_ADDRESS" in os.environ:
    os.environ["RAG_VECTOR_DB_URL"] = "http://" + os.environ["RAG_VECTOR_DB_ADDRESS"]
"""
"""A `sitecustomize` with which the service calls its vector DB directly, whatever it was told."""

Spoil = Callable[[Path], None]


def honest(faults: dict[str, Any] = FAULTS, phases: list[dict[str, Any]] = PHASES) -> str:
    written = json.loads(experiment(faults, phases, rate="6/s"))
    return json.dumps(written | {"objectives": OBJECTIVES, "assertions": ASSERTIONS})


def gates(verdict: Verdict) -> dict[str, tuple[str, str]]:
    return {one.name: (one.verdict, one.message) for one in verdict.gates}


def ended(run: WholeRun) -> tuple[int, Verdict]:
    code = run.process.wait(ENDS_WITHIN_S)
    assert "Traceback" not in run.said
    return code, evaluate(run.bundle)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path) -> Iterator[tuple[int, Path]]:
    """The exit code and the bundle of a run with which nothing is wrong."""
    for _ in range(TRIES):
        with whole_run(tmp_path_factory.mktemp("control"), stand_ins, honest(), {}) as run:
            code, verdict = ended(run)
            bundle = run.bundle
        if gates(verdict)["load"][0] == "pass":
            break
    yield code, bundle


def test_the_control_passes(control: tuple[int, Path]) -> None:
    """Nothing wrong, and the same experiment passes: it is no run that could only be inconclusive."""
    code, bundle = control
    verdict = evaluate(bundle)
    assert (verdict.verdict, code) == ("pass", ExitCode.PASSED), gates(verdict)


def test_a_service_that_goes_past_the_proxy_proves_nothing(tmp_path: Path, stand_ins: Path) -> None:
    """The latency was accepted, read back and never felt; the fault on requests has a path nobody asks."""
    astray = tmp_path / "astray"
    astray.mkdir()
    (astray / "sitecustomize.py").write_text(ASTRAY)
    path = os.pathsep.join((str(astray), str(stand_ins), os.environ.get("PYTHONPATH", "")))
    elsewhere = {"on": "llm", "kind": "http_error", "status": 500, "path": "/v1/nobody/asks/this"}
    faults = {**FAULTS, "elsewhere": elsewhere}
    phases = [{**one, "faults": list(faults)} if one["name"] == "fault" else one for one in PHASES]
    with whole_run(tmp_path, stand_ins, honest(faults, phases), {"PYTHONPATH": path}) as run:
        code, verdict = ended(run)
    bites = {fault.name: fault.bite for fault in verdict.faults}

    assert code == ExitCode.INCONCLUSIVE, gates(verdict)
    assert {name: bite.verdict for name, bite in bites.items()} == dict.fromkeys(faults, "inconclusive")
    assert bites["slow-vector-db"].spans > 3 and bites["slow-vector-db"].bitten_ratio == 0.0
    assert "does any request have its path" in bites["elsewhere"].message
    assert {one.verdict for one in verdict.objectives} == {"pass"}  # the users were well, which is the trap


def test_a_starved_generator_and_an_empty_phase_prove_nothing(tmp_path: Path, stand_ins: Path) -> None:
    """A generator that stood still for seconds sent nobody in them; in the last phase nobody was to come."""
    phases = [*PHASES, {"name": "nobody", "for": "1s", "rate": "0.001/s"}]
    with whole_run(tmp_path, stand_ins, honest(phases=phases), {}) as run:
        run.wait_until(lambda: run.count("fault.verified") == 1, "the fault")
        pid = run.identity("journeys").pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3.0)
        os.kill(pid, signal.SIGCONT)
        code, verdict = ended(run)
    verdict_of_load, message = gates(verdict)["load"]

    assert (code, verdict_of_load) == (ExitCode.INCONCLUSIVE, "inconclusive")
    assert "started late" in message and "nobody was to arrive in nobody" in message


def keep(bundle: Path, wanted: Callable[[pa.Table], Any]) -> None:
    """Lose the spans that are not wanted; what the file says about itself stays."""
    path = bundle / "spans.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(wanted(table)), path)


def lose_requests(bundle: Path) -> None:
    """One request span in forty."""

    def wanted(table: pa.Table) -> Any:
        requests = np.array([kind == "Server" for kind in table["SpanKind"].to_pylist()])
        return pa.array(~requests | (np.cumsum(requests) % 40 != 0))

    keep(bundle, wanted)


def lose_the_end(bundle: Path) -> None:
    """What the service still held when it was over: its last traces, whole."""

    def wanted(table: pa.Table) -> Any:
        start_ns = np.array(table["Timestamp"].cast(pa.int64()).to_pylist())
        first = dict(zip(table["TraceId"].to_pylist(), start_ns, strict=True))
        begun = np.array([first[trace] for trace in table["TraceId"].to_pylist()])
        return pa.array(begun < np.sort(start_ns)[int(0.8 * len(start_ns))])

    keep(bundle, wanted)


def lose_what_the_fault_did(bundle: Path) -> None:
    """All searches: nobody can tell any more what the fault did to them."""
    keep(bundle, lambda table: pa.array([not str(name).startswith("search") for name in table["SpanName"]]))


def lose_all(bundle: Path) -> None:
    """An exporter that never got through."""
    keep(bundle, lambda table: pa.array(np.zeros(len(table), dtype=bool)))


def lose_attempts(bundle: Path) -> None:
    """Some of the generator's lines: whoever was slow may be among them."""
    path = bundle / "attempts.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:60] + lines[65:]))


def tear_an_attempt(bundle: Path) -> None:
    """The last line is half there: its writer died, and nobody knows what went with it."""
    path = bundle / "attempts.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def lose_the_end_of_the_journal(bundle: Path) -> None:
    """A runner that was killed says nothing about how it ended."""
    path = bundle / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))


@pytest.mark.parametrize(
    ("spoil", "gate"),
    [
        (lose_requests, "evidence"),
        (lose_the_end, "evidence"),
        (lose_what_the_fault_did, "bite"),
        (lose_all, "evidence"),
        (lose_attempts, "evidence"),
        (tear_an_attempt, "evidence"),
        (lose_the_end_of_the_journal, "finished"),
    ],
)
def test_a_passing_run_that_lost_evidence_proves_nothing(
    control: tuple[int, Path], tmp_path: Path, spoil: Spoil, gate: str
) -> None:
    """The control's own bundle, less a part of it: the gate that is there for it says so."""
    copy = shutil.copytree(control[1], tmp_path / "bundle")
    spoil(copy)
    verdict = evaluate(copy)

    assert gates(verdict)[gate][0] == "inconclusive", gates(verdict)
    assert (verdict.verdict, verdict.exit_code) == ("inconclusive", ExitCode.INCONCLUSIVE)
