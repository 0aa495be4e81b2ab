"""A target that runs already, in processes of its own: attached to, hurt, judged as on the local stack.

The target is a local stack that the test has started: for a run that attaches it is somebody else's.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos.control.toxiproxy import Toxiproxy
from chaos.exit_codes import ExitCode
from chaos.stack.barrier import answers_under_way
from chaos.stack.description import DependencyRecord
from chaos.stack.local import LocalStack
from chaos.stack.ports import reserve_port
from chaos.stack.proxy_choice import choose_proxy
from tests.scenario.whole_run import ROOT, WholeRun, whole_run

pytestmark = pytest.mark.slow

EXPERIMENT = """
apiVersion: ragquake/v1
kind: Experiment
name: attached
title: A slow vector DB, on whatever stack
owner: tests
hypothesis: The breaker opens, answers are degraded and say so, and nobody is left without one.
load: {baseline_rate: 4/s, journeys: {ask: 1}}
faults:
  slow-vector-db: {on: vector_db, kind: latency, latency: 2s}
phases:
  - {name: warmup, for: 3s, judged: false}
  - {name: baseline, for: 10s}
  - {name: fault, for: 14s, faults: [slow-vector-db]}
  - {name: recovery, for: 3s, judged: false}
objectives:
  - {name: answered, segment: journey, indicator: good_ratio, target: ">= 50%"}
  - {name: honest, segment: request, indicator: undeclared_degraded_ratio, target: "= 0%"}
assertions:
  - breaker_opens: {breaker: vector_db, within: 14s}
  - every_degraded_answer_says_so: {}
"""
LONG = EXPERIMENT.replace("for: 14s, faults", "for: 200s, faults")
CLEAN_WITHIN_S = 10.0
SLACK_S = 8.0
"""For a busy machine."""


@dataclass(frozen=True, slots=True)
class Somebodys:
    """The target: its stack, which the run did not start, and the port to which its spans go."""

    stack: LocalStack
    telemetry: int

    @property
    def toxiproxy(self) -> Toxiproxy:
        return Toxiproxy(self.stack.proxy_api)

    def dependency(self, name: str) -> DependencyRecord:
        return self.stack.description.dependencies[name]

    def file(self, folder: Path, dependencies: Mapping[str, Any]) -> Path:
        """A target file for it, which names its service by name. JSON is YAML."""
        target = {
            "apiVersion": "ragquake/v1",
            "kind": "Target",
            "name": "somebodys",
            "service": {
                "url": self.stack.service_url.replace("127.0.0.1", "localhost"),
                "ready": "/readyz",
                "breakers": "/v1/breakers",
                "flush": "/v1/telemetry/flush",
            },
            "dependencies": dependencies,
            "telemetry": {"listen": f"127.0.0.1:{self.telemetry}"},
        }
        path = folder / "target.yaml"
        path.write_text(json.dumps(target))
        return path

    def be_well(self) -> None:
        """Until no breaker is open any more: questions are their probes."""
        until_s = time.monotonic() + 90.0
        while not self._is_well():
            assert time.monotonic() < until_s, self.stack.breaker_states()
            time.sleep(0.5)

    def _is_well(self) -> bool:
        question = {"question": "How do I parse a JSON string?"}
        with httpx.Client(base_url=self.stack.service_url, timeout=20.0, trust_env=False) as client:
            outcome = client.post("/v1/answers", json=question).json().get("outcome")
        states = self.stack.breaker_states()
        closed = all(state == "closed" for state in states.values())
        return outcome == "full" and bool(states) and closed and not answers_under_way(self.stack.service_url)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path) -> Iterator[Somebodys]:
    """It lasts as long as the tests, whatever becomes of the runs."""
    home = tmp_path_factory.mktemp("somebodys")
    telemetry = reserve_port()
    stack = LocalStack(
        folder=home,
        index_dir=ROOT / ".ragquake" / "index",
        proxy=choose_proxy({"RAGQUAKE_PROXY": "toxiproxy"}, ROOT / ".ragquake"),
        otlp_endpoint=f"http://127.0.0.1:{telemetry}",
        home=home,
        environment={**os.environ, "PYTHONPATH": str(stand_ins)},
    )
    with stack:
        yield Somebodys(stack, telemetry)


@pytest.fixture(params=["a proxy that is there", "a proxy that the run puts there"])
def target(request: pytest.FixtureRequest, running: Somebodys, tmp_path: Path) -> Iterator[Path]:
    """The target's file, once for each way to a dependency. Afterwards the target has its own proxy again."""
    found = running.dependency("vector_db")
    running.be_well()
    if request.param == "a proxy that is there":
        yield running.file(
            tmp_path, {"vector_db": {"toxiproxy": running.stack.proxy_api, "proxy": "vector_db"}}
        )
        return
    running.toxiproxy.delete_proxy("vector_db")
    try:
        yield running.file(tmp_path, {"vector_db": {"listen": found.listen, "upstream": found.upstream}})
    finally:
        running.toxiproxy.create_proxy("vector_db", found.listen, found.upstream)


def run_on(folder: Path, stand_ins: Path, text: str, *words: str | Path) -> Any:
    return whole_run(folder, stand_ins, text, {}, words=("run", folder / "everything.yaml", *words))


def judged(run: WholeRun) -> dict[str, str]:
    """What a verdict is made of, but for what a busy machine alone decides: how honest the load was."""
    verdict = json.loads((run.bundle / "verdict.json").read_text())
    gates = {f"gate {gate['name']}": gate["verdict"] for gate in verdict["gates"]}
    assertions = {f"assertion {one['name']}": one["verdict"] for one in verdict["assertions"]}
    objectives = {f"{one['name']} in {one['phase']}": one["verdict"] for one in verdict["objectives"]}
    gates.pop("gate load")
    return {**gates, **assertions, **objectives}


@pytest.fixture(scope="module")
def on_local(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path) -> dict[str, str]:
    """What the same file comes to on a stack that the run starts itself."""
    folder = tmp_path_factory.mktemp("local")
    with run_on(folder, stand_ins, EXPERIMENT, "--stack", "local") as run:
        run.process.wait(180)
        found = judged(run)
    assert found["gate finished"] == "pass", run.said
    return found


def test_the_same_file_comes_to_the_same_on_a_target_that_runs_already(
    on_local: dict[str, str], running: Somebodys, target: Path, tmp_path: Path, stand_ins: Path
) -> None:
    """Gates, assertions and objectives; and the target is as it was: its processes, its proxies."""
    before = running.toxiproxy.proxies()
    with run_on(tmp_path, stand_ins, EXPERIMENT, "--stack", target) as run:
        code = run.process.wait(180)
    assert judged(run) == on_local, run.said
    assert on_local["gate bite"] == "pass" and on_local["gate evidence"] == "pass"
    assert set(on_local.values()) == {"pass"}
    assert code in (ExitCode.PASSED, ExitCode.INCONCLUSIVE), run.said
    assert run.left() == []
    assert running.toxiproxy.proxies() == before
    running.stack.require_alive()
    plan = json.loads((run.bundle / "journeys.plan.json").read_text())
    assert plan["target"] == running.stack.service_url, "the load goes to the address that was decided"
    stack = run.stack
    assert (stack.kind, stack.target) == ("attached", "somebodys")
    assert not set(stack.parts) & {"service", "vector_db", "llm"}


def test_a_killed_runner_leaves_the_target_clean_and_alive(
    running: Somebodys, target: Path, tmp_path: Path, stand_ins: Path
) -> None:
    """SIGKILL in the middle of a fault: within ten seconds nothing of the run is anywhere."""
    before = running.toxiproxy.proxies()
    with run_on(tmp_path, stand_ins, LONG, "--stack", target) as run:
        run.wait_until(lambda: run.count("fault.verified") == 1, "the fault")
        theirs = "vector_db" in before
        assert not theirs or [one.name for one in running.toxiproxy.proxy("vector_db").toxics] == [
            "slow-vector-db"
        ]
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        assert run.left_after(CLEAN_WITHIN_S + SLACK_S) == []
        assert running.toxiproxy.proxies() == before
    running.stack.require_alive()


def test_a_fault_in_a_proxy_that_nobody_calls_through_proves_nothing(
    running: Somebodys, tmp_path: Path, stand_ins: Path
) -> None:
    """Negative control of all this: the file names the wrong proxy, so the fault does not bite."""
    running.be_well()
    found = running.dependency("vector_db")
    running.toxiproxy.create_proxy("spare", "127.0.0.1:0", found.upstream)
    target = running.file(tmp_path, {"vector_db": {"toxiproxy": running.stack.proxy_api, "proxy": "spare"}})
    try:
        with run_on(tmp_path, stand_ins, EXPERIMENT, "--stack", target) as run:
            assert run.process.wait(180) == ExitCode.INCONCLUSIVE, run.said
    finally:
        running.toxiproxy.delete_proxy("spare")
    assert judged(run)["gate bite"] == "inconclusive"


def test_without_spans_a_run_is_inconclusive_and_says_so(
    running: Somebodys, tmp_path: Path, stand_ins: Path
) -> None:
    """The target sends its telemetry elsewhere: no crash, and no pass."""
    running.be_well()
    elsewhere = Somebodys(running.stack, reserve_port())
    target = elsewhere.file(
        tmp_path, {"vector_db": {"toxiproxy": running.stack.proxy_api, "proxy": "vector_db"}}
    )
    with run_on(tmp_path, stand_ins, EXPERIMENT, "--stack", target) as run:
        assert run.process.wait(180) == ExitCode.INCONCLUSIVE, run.said
    assert judged(run)["gate evidence"] == "inconclusive"
    assert "no spans were received" in run.said and "Traceback" not in run.said


def test_a_second_run_on_the_same_target_is_refused(target: Path, tmp_path: Path, stand_ins: Path) -> None:
    """Whatever folders it is given: two runs on one target would each be the other's noise."""
    with run_on(tmp_path, stand_ins, LONG, "--stack", target) as first:
        first.wait_until(lambda: first.count("fault.verified") == 1, "the fault")
        other = tmp_path / "other"
        other.mkdir()
        with run_on(other, stand_ins, LONG, "--stack", target) as second:
            assert second.process.wait(90) == ExitCode.ENVIRONMENT
            assert "another run is under way" in second.said
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(90) == ExitCode.INTERRUPTED
        assert first.left() == []
