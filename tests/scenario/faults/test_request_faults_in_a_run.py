"""Faults on requests in a whole run: on Toxiproxy with the built-in proxy behind it, and on the latter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chaos.exit_codes import ExitCode
from chaos.journal import outstanding_undos, read
from chaos.stack.process import marked

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
RAGQUAKE = Path(sys.executable).with_name("ragquake")
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "broken-vector-db": {"on": "vector_db", "kind": "http_error", "status": 500},
    "lost-index": {"on": "vector_db", "kind": "empty_results"},
    "given-up": {"on": "llm", "kind": "done_after_abort", "after_tokens": 3},
    "slow-llm": {"on": "llm", "kind": "latency", "latency": "300ms"},
    "cut-llm": {"on": "llm", "kind": "cut", "after_tokens": 3},
}
PHASES = [
    {"name": "baseline", "for": "3s"},
    {"name": "empty", "for": "4s", "faults": ["lost-index", "slow-llm"]},
    {"name": "given-up", "for": "4s", "faults": ["given-up"]},
    {"name": "cut", "for": "4s", "faults": ["cut-llm"]},
    {"name": "broken", "for": "4s", "faults": ["broken-vector-db"]},
    {"name": "recovery", "for": "2s"},
]


@pytest.fixture(scope="module", params=["toxiproxy", "builtin"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, stand_ins: Path
) -> tuple[str, int, str, Path]:
    """The fault proxy, the run's exit code, what it said, and its bundle."""
    tmp_path = tmp_path_factory.mktemp("run")
    experiment = {
        "apiVersion": "ragquake/v1",
        "kind": "Experiment",
        "name": "requests",
        "title": "Answers that are wrong rather than late",
        "owner": "tests",
        "hypothesis": "The run goes on, and everything is itself again at its end.",
        "load": {"baseline_rate": "6/s", "journeys": {"ask": 1}},
        "faults": FAULTS,
        "phases": PHASES,
    }
    (tmp_path / "requests.yaml").write_text(json.dumps(experiment))
    state, runs = tmp_path / "state", tmp_path / "runs"
    state.mkdir()
    for shared in ("index", "bin"):
        if (ROOT / ".ragquake" / shared).exists():
            (state / shared).symlink_to(ROOT / ".ragquake" / shared)
    path = os.pathsep.join(filter(None, (str(stand_ins), os.environ.get("PYTHONPATH"))))
    ended = subprocess.run(
        [RAGQUAKE, "run", tmp_path / "requests.yaml", "--runs", runs, "--state", state],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "RAGQUAKE_PROXY": request.param},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return request.param, ended.returncode, ended.stdout + ended.stderr, (runs / "latest").resolve()


def test_a_run_disturbs_requests_and_leaves_nothing(run: tuple[str, int, str, Path]) -> None:
    """It completes, every fault was counted and is gone, and the stack had the links that it needed."""
    proxy, code, said, bundle = run
    entries = read(bundle / "journal.jsonl")
    finished = next(entry for entry in entries if entry["event"] == "run.finished")
    assert finished["status"] == "completed", said
    assert code != ExitCode.ENVIRONMENT and "Traceback" not in said
    removed = {
        entry["fault"]: entry.get("observed") for entry in entries if entry["event"] == "fault.removed"
    }
    assert set(removed) == set(FAULTS)
    counted = {name: facts["hits"] for name, facts in removed.items() if facts}
    assert set(counted) == set(FAULTS) - {"slow-llm"} and all(hits >= 3 for hits in counted.values()), counted
    assert outstanding_undos(entries) == [] and marked(str(bundle / "stack.json")) == []
    stack = json.loads((bundle / "stack.json").read_text())
    assert stack["proxy"]["kind"] == proxy and stack["requests_proxy"]["kind"] == "builtin"
    assert ("requests_proxy" in stack["parts"]) is (proxy == "toxiproxy")
    records = {entry["fault"]: entry["undo"]["do"] for entry in entries if entry["event"] == "undo.declared"}
    assert records["lost-index"] == records["given-up"] == "remove_http_fault"
    assert records["cut-llm"] == "remove_simulator_fault" and records["slow-llm"] == "remove_toxic"


def test_every_one_of_them_bit(run: tuple[str, int, str, Path]) -> None:
    """By count where no span must show it, on the spans where one does."""
    _, _, said, bundle = run
    faults = json.loads((bundle / "verdict.json").read_text())["faults"]
    bites = {fault["name"]: (fault["bite"]["verdict"], fault["bite"]["message"]) for fault in faults}
    assert set(bites) == set(FAULTS)
    assert all(verdict == "pass" for verdict, _ in bites.values()), (bites, said)


def test_the_bundle_has_the_records_of_whoever_read_requests_or_bytes(
    run: tuple[str, int, str, Path],
) -> None:
    """`request` tells them apart: null is bytes, which Toxiproxy keeps no record of."""
    proxy, _, _, bundle = run
    records = [json.loads(line) for line in (bundle / "faults.jsonl").read_text().splitlines()]
    requests = {
        one["name"] for record in records if record["request"] is not None for one in record["faults"]
    }
    assert requests == {"lost-index", "given-up", "broken-vector-db"}
    seen = {one["name"] for record in records if record["request"] is None for one in record["faults"]}
    assert seen == (set() if proxy == "toxiproxy" else {"slow-llm"})
    journal = read(bundle / "journal.jsonl")
    observed = {entry["fault"]: entry["observed"] for entry in journal if entry.get("observed")}
    for name in requests:
        told = sum(one["name"] == name for record in records for one in record["faults"])
        assert told == observed[name]["hits"], name
