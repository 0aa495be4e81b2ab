"""A suite of two runs on one stack, with real processes: each bundle stands on its own, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from chaos.exit_codes import ExitCode
from chaos.run.journal import outstanding_undos, read
from chaos.stack.process import marked
from slo.verdict import Verdict
from tests.scenario.whole_run import RAGQUAKE, WholeRun, bundles, experiment, whole_run

pytestmark = pytest.mark.slow
FAULT = {"slow": {"on": "vector_db", "kind": "latency", "latency": "300ms"}}
BASELINE = {"name": "baseline", "for": "4s"}
ENDS_WITHIN_S = 240.0


BUILTIN = pytest.mark.parametrize("suite", ["builtin"], indirect=True)
TOXIPROXY = pytest.mark.parametrize("suite", ["toxiproxy"], indirect=True)
"""Which knows no leases: there the wardens are all there is."""


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path, stand_ins: Path) -> Iterator[WholeRun]:
    """Two runs of the same need: one with a fault, one in which nothing happens."""
    calm = json.loads(experiment({}, [BASELINE])) | {"name": "calm"}
    (tmp_path / "calm.yaml").write_text(json.dumps(calm))
    entries = [{"name": "./everything.yaml"}, {"name": "./calm.yaml"}]
    facts = {"apiVersion": "ragquake/v1", "kind": "Suite", "name": "two", "budget": "10m"}
    (tmp_path / "two.yaml").write_text(json.dumps({**facts, "experiments": entries}))
    phases = [BASELINE, {"name": "fault", "for": "4s", "faults": list(FAULT)}]
    words = ("suite", tmp_path / "two.yaml")
    environment = {"RAGQUAKE_PROXY": request.param}
    text = experiment(FAULT, phases)
    with whole_run(tmp_path, stand_ins, text, environment, words=words) as one:
        yield one


def campaign_of(suite: WholeRun) -> Path:
    return (suite.runs / "latest-campaign").resolve()


def record_of(suite: WholeRun) -> dict[str, Any]:
    return dict(json.loads((campaign_of(suite) / "campaign.json").read_text()))


def left_of(suite: WholeRun) -> list[str]:
    """Processes that belong to a run of the suite or to the stack that they shared."""
    folders = [*bundles(suite.runs), *campaign_of(suite).glob("stack-*")]
    return [str(process) for folder in folders for process in marked(str(folder / "stack.json"))]


@BUILTIN
def test_two_runs_on_one_stack_stand_on_their_own(suite: WholeRun) -> None:
    """One stack served both; each bundle has its own evidence, whole, and gives the same verdict again."""
    suite.process.wait(ENDS_WITHIN_S)
    record = record_of(suite)
    assert record["status"] == "finished", suite.said
    assert [one["status"] for one in record["runs"]] == ["completed", "completed"], suite.said
    assert [folder.name for folder in campaign_of(suite).glob("stack-*")] == ["stack-1"], suite.said
    first, second = (suite.runs / one["bundle"] for one in record["runs"])
    stacks = [json.loads((bundle / "stack.json").read_text())["parts"] for bundle in (first, second)]
    assert stacks[0]["service"] == stacks[1]["service"]
    assert stacks[0]["journeys"] != stacks[1]["journeys"] and stacks[0]["warden"] != stacks[1]["warden"]
    for bundle in (first, second):
        verdict = Verdict.read(bundle / "verdict.json")
        [evidence] = [gate for gate in verdict.gates if gate.name == "evidence"]
        assert evidence.verdict == "pass", evidence.message
        assert evidence.facts["sequence"]["missing"] == evidence.facts["orphans"]["missing"] == 0
        before = (bundle / "verdict.json").read_bytes()
        subprocess.run([RAGQUAKE, "evaluate", bundle], capture_output=True, check=False)
        assert (bundle / "verdict.json").read_bytes() == before
    assert (first / "faults.jsonl").read_bytes(), "what the fault did is in the bundle of its run"
    assert (second / "faults.jsonl").read_bytes() == b""
    suites = JUnitXml.fromfile(str(campaign_of(suite) / "junit.xml"))
    assert [one.name for one in suites] == ["everything", "calm"]
    assert left_of(suite) == []


@BUILTIN
def test_ctrl_c_in_the_second_run_ends_the_suite(suite: WholeRun) -> None:
    """Exit 130; the stack that goes on from run to run has ended, too; what is left to run is told."""
    suite.wait_until(lambda: len(bundles(suite.runs)) == 2 and suite.count("load.started") == 1, "the second")
    suite.process.send_signal(signal.SIGINT)
    assert suite.process.wait(ENDS_WITHIN_S) == ExitCode.INTERRUPTED, suite.said
    record = record_of(suite)
    assert record["status"] == "interrupted" and record["verdict"] == "inconclusive"
    assert [one["status"] for one in record["runs"]] == ["completed", "interrupted"]
    assert "Traceback" not in suite.said
    assert left_of(suite) == []


@TOXIPROXY
@pytest.mark.parametrize("moment", ["in the second run", "between two runs"])
def test_a_killed_suite_leaves_nothing(suite: WholeRun, moment: str) -> None:
    """kill -9: while a run has the stack its warden ends everything, in between the stack's own."""
    runs, event = (2, "load.started") if moment == "in the second run" else (1, "run.finished")
    suite.wait_until(lambda: len(bundles(suite.runs)) == runs and suite.count(event) == 1, moment)
    assert left_of(suite)
    suite.process.kill()
    suite.process.wait()
    until_s = time.monotonic() + 60.0
    while left_of(suite) and time.monotonic() < until_s:
        time.sleep(0.2)
    assert left_of(suite) == [] and suite.left() == []
    assert outstanding_undos(read(suite.bundle / "journal.jsonl")) == []


@TOXIPROXY
def test_a_suite_killed_with_its_wardens_is_ended_by_a_rollback(suite: WholeRun) -> None:
    """Nobody is left: `ragquake rollback` of the latest bundle stops the stack that it was lent."""
    suite.wait_until(lambda: suite.count("load.started") == 1, "the first run's load")
    [home] = campaign_of(suite).glob("stack-*")
    wardens = [json.loads((folder / "stack.json").read_text()) for folder in (home, suite.bundle)]
    for described in wardens:
        os.kill(described["parts"]["warden"]["pid"], signal.SIGKILL)
    suite.process.kill()
    suite.process.wait()
    assert left_of(suite)
    done = subprocess.run([RAGQUAKE, "rollback", suite.bundle], capture_output=True, text=True)
    assert done.returncode == ExitCode.PASSED, done.stderr
    assert left_of(suite) == []
