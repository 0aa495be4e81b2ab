"""Faults on requests in a whole run: on Toxiproxy with the built-in proxy behind it, and on the latter."""

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
) -> Iterator[tuple[str, WholeRun]]:
    """The fault proxy, and a run that has ended; what it left, if anything, is still there."""
    environment = {"RAGQUAKE_PROXY": request.param}
    text = experiment(FAULTS, PHASES, rate="6/s")
    with whole_run(tmp_path_factory.mktemp("run"), stand_ins, text, environment) as one:
        one.process.wait(ENDS_WITHIN_S)
        yield request.param, one


def test_a_run_disturbs_requests_and_leaves_nothing(run: tuple[str, WholeRun]) -> None:
    """It completes, every fault was counted and is gone, and the stack had the links that it needed."""
    proxy, one = run
    code, said, bundle = one.process.returncode, one.said, one.bundle
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


def test_every_one_of_them_bit(run: tuple[str, WholeRun]) -> None:
    """By count where no span must show it, on the spans where one does."""
    said, bundle = run[1].said, run[1].bundle
    faults = json.loads((bundle / "verdict.json").read_text())["faults"]
    bites = {fault["name"]: (fault["bite"]["verdict"], fault["bite"]["message"]) for fault in faults}
    assert set(bites) == set(FAULTS)
    assert all(verdict == "pass" for verdict, _ in bites.values()), (bites, said)


def test_the_bundle_has_the_records_of_whoever_read_requests_or_bytes(
    run: tuple[str, WholeRun],
) -> None:
    """`request` tells them apart: null is bytes, which Toxiproxy keeps no record of."""
    proxy, bundle = run[0], run[1].bundle
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
