"""Faults on processes in a whole run: a part that was killed on purpose does not end it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaos.exit_codes import ExitCode
from chaos.run.journal import outstanding_undos, read
from chaos.stack.process import marked
from tests.scenario.whole_run import WholeRun, experiment, whole_run

pytestmark = pytest.mark.slow
ENDS_WITHIN_S = 240.0
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "dead-vector-db": {"on": "vector_db", "kind": "kill"},
    "frozen-llm": {"on": "llm", "kind": "pause"},
    "new-llm": {"on": "llm", "kind": "restart"},
    "new-service": {"on": "service", "kind": "restart"},
    "noisy-neighbour": {"on": "service", "kind": "cpu_hog", "share": "30%"},
}
PHASES = [
    {"name": "baseline", "for": "2s"},
    {"name": "gone", "for": "3s", "faults": ["dead-vector-db", "frozen-llm", "noisy-neighbour"]},
    {"name": "back", "for": "3s"},
    {"name": "redeployed", "for": "4s", "faults": ["new-llm"]},
    {"name": "redeployed-again", "for": "8s", "faults": ["new-service"]},
    {"name": "recovery", "for": "2s"},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path) -> Iterator[WholeRun]:
    """A run that has ended; what it left, if anything, is still there."""
    with whole_run(tmp_path_factory.mktemp("run"), stand_ins, experiment(FAULTS, PHASES), {}) as one:
        one.process.wait(ENDS_WITHIN_S)
        yield one


def test_a_run_goes_on_while_parts_are_away_and_has_them_back_at_its_end(run: WholeRun) -> None:
    """Killed, paused and restarted parts end no run; the journal has who was away for how long."""
    code, said, bundle = run.process.returncode, run.said, run.bundle
    entries = read(bundle / "journal.jsonl")
    finished = next(entry for entry in entries if entry["event"] == "run.finished")
    assert finished["status"] == "completed", said
    assert code != ExitCode.ENVIRONMENT and "Traceback" not in said
    observed = {
        entry["fault"]: entry["observed"]
        for entry in entries
        if entry["event"] == "fault.removed" and "observed" in entry
    }
    assert set(observed) == set(FAULTS)
    assert all(facts["bit"] for facts in observed.values() if "bit" in facts)
    for name in ("dead-vector-db", "new-llm", "new-service"):
        assert observed[name]["away_s"] > 0 and observed[name]["pid_before"] != observed[name]["pid_after"]
    assert outstanding_undos(entries) == [] and marked(str(bundle / "stack.json")) == []
    parts = json.loads((bundle / "stack.json").read_text())["parts"]
    assert not [name for name in parts if name.startswith("hog")]
    assert parts["vector_db"]["pid"] == observed["dead-vector-db"]["pid_after"]
    assert (
        next(entry for entry in entries if entry["event"].startswith("barrier."))["event"] == "barrier.passed"
    )


def test_every_one_of_them_bit(run: WholeRun) -> None:
    """On the spans where they can show it, by the kernel's word where not; nothing is left to belief."""
    said, bundle = run.said, run.bundle
    faults = json.loads((bundle / "verdict.json").read_text())["faults"]
    bites = {fault["name"]: (fault["bite"]["verdict"], fault["bite"]["message"]) for fault in faults}
    assert set(bites) == set(FAULTS)
    assert all(verdict == "pass" for verdict, _ in bites.values()), (bites, said)
    assert "search spans ended in an error" in bites["dead-vector-db"][1]
    assert "lasted until it was out" in bites["frozen-llm"][1]
