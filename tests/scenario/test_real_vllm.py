"""A disturbed run against real vLLM, watched through vLLM's own metrics, and what a killed one leaves.

The run has two arms: in the second no hang-up arrives at vLLM, and then nothing may be seen to be given up.
Only where RAGQUAKE_TEST_VLLM=1 says so (`make test-vllm`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chaos.exit_codes import ExitCode
from chaos.run.journal import read
from chaos.stack.description import FILE_NAME
from chaos.stack.model_servers.alone import alone
from chaos.stack.model_servers.vllm import TINY_SETTINGS, vllm
from chaos.stack.ports import LOOPBACK
from chaos.stack.process import marked
from tests.scenario.deaf_relay import deaf_relay

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("RAGQUAKE_TEST_VLLM") != "1", reason="real vLLM is tested by `make test-vllm`"
    ),
]
ROOT = Path(__file__).resolve().parents[2]
RAGQUAKE = Path(sys.executable).with_name("ragquake")
TINY_OVERRIDES = {"service.context.max_tokens": TINY_SETTINGS["RAG_CONTEXT__MAX_TOKENS"]}
"""What a run sets by itself when it starts the tiny model, and cannot know of one that runs elsewhere."""
READY_WITHIN_S = 400.0
NAMES = ("num_requests_running", "num_requests_waiting", "time_to_first_token_seconds_count")


@dataclass(frozen=True, slots=True)
class Sample:
    """What vLLM said of itself at one moment."""

    at_s: float
    running: int
    waiting: int
    begun: int
    ended: int

    @property
    def given_up(self) -> int:
        """Answers that had their first token and will have no end; vLLM has no counter for them."""
        return self.begun - self.ended - self.running


@dataclass(slots=True)
class Run:
    """`ragquake run … --llm vllm` in a process of its own."""

    process: subprocess.Popen[str]
    runs: Path
    samples: list[Sample] = field(default_factory=list)

    @property
    def bundle(self) -> Path:
        return (self.runs / "latest").resolve()

    def stack(self) -> dict[str, object]:
        try:
            return dict(json.loads((self.bundle / "stack.json").read_text()))
        except (OSError, ValueError):
            return {}

    def happened(self, event: str) -> float | None:
        """When the journal first told of an event."""
        journal = self.runs / "latest" / "journal.jsonl"
        facts = read(journal) if journal.exists() else []
        return next((float(str(fact["at_s"])) for fact in facts if fact["event"] == event), None)

    def wait_for(self, event: str, each: Callable[[], None] = lambda: None) -> None:
        end_s = time.monotonic() + READY_WITHIN_S
        while self.happened(event) is None:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end_s, f"{event} never came"
            each()
            time.sleep(0.5)  # reading a page of metrics costs the machine 20 ms, too

    def sample(self) -> None:
        """Ask vLLM itself, not through the proxy."""
        url = self.stack()["parts"]["llm"]["url"]  # type: ignore[index]
        found: dict[str, int] = {}
        ended = 0
        for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=5.0).text):
            for one in family.samples:
                name = one.name.removeprefix("vllm:")
                if name == "request_success_total":
                    ended += int(one.value)
                elif name in NAMES:
                    found[name] = int(one.value)
        self.samples.append(Sample(time.time(), *(found[name] for name in NAMES), ended))

    def watch(self) -> None:
        """From the first arrival to the last answer."""
        self.wait_for("load.started")
        self.wait_for("load.ended", each=self.sample)

    @property
    def given_up(self) -> int:
        """How many answers were given up since the dependency fell silent."""
        silent_s = self.happened("fault.injected")
        assert silent_s is not None
        before = [sample for sample in self.samples if sample.at_s < silent_s]
        return self.samples[-1].given_up - before[-1].given_up

    def who_left(self) -> dict[str, float]:
        """When the users left who did not wait for their answer, by the trace of their question."""
        attempts = [json.loads(line) for line in (self.bundle / "attempts.jsonl").read_text().splitlines()]
        return {one["trace_id"]: one["end_s"] for one in attempts if one["outcome"] == "abandoned"}

    def worked_on_s(self) -> list[float]:
        """How long the service held on to vLLM for users who had left, in order."""
        left = self.who_left()
        spans = duckdb.sql(
            "SELECT TraceId, max(epoch_ns(Timestamp) + Duration) / 1e9 FROM "
            f"'{self.bundle / 'spans.parquet'}' WHERE SpanName LIKE 'chat %' GROUP BY TraceId"
        ).fetchall()
        return sorted(ended_s - left[trace] for trace, ended_s in spans if trace in left)

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    begun: list[Run] = []

    def run(experiment: str, llm: str = "vllm", **overrides: str) -> Run:
        state = tmp_path / "state"
        state.mkdir()
        for shared in ("index", "bin", "vllm", "models"):
            if (ROOT / ".ragquake" / shared).exists():
                (state / shared).symlink_to((ROOT / ".ragquake" / shared).resolve())
        runs = tmp_path / "runs"
        command = [RAGQUAKE, "run", experiment, "--llm", llm, "--runs", runs, "--state", state]
        for key, value in overrides.items():
            command += ["--set", f"{key}={value}"]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun.append(Run(process, runs))
        return begun[-1]

    yield run
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def real_vllm(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """One that runs elsewhere, for `--llm URL`; it is open to nobody but this machine."""
    server = vllm(ROOT / ".ragquake")
    with alone(server, tmp_path, server.nice) as part:
        for process in marked(str(tmp_path / FILE_NAME)):
            listening = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
            assert all(one.laddr.ip == LOOPBACK for one in listening), process
        address = urlsplit(str(part.plan.url))
        yield LOOPBACK, address.port or 0


def test_hang_ups_free_their_places(start: Callable[..., Run]) -> None:
    """Spike, silence and users who leave: vLLM gave up the answers that nobody read, and the run passes."""
    run = start("hang-ups")
    run.watch()
    code, said = run.end()

    assert code == ExitCode.PASSED, said
    assert run.stack()["model_server"] == {
        **{"kind": "vllm", "version": "0.32.0", "model": "tiny"},
        "owned": True,
    }
    silent_s, heard_s = run.happened("fault.injected"), run.happened("fault.removed")
    assert silent_s is not None and heard_s is not None
    before = [sample for sample in run.samples if sample.at_s < silent_s]
    silence = [sample for sample in run.samples if silent_s <= sample.at_s < heard_s]
    assert max(sample.running for sample in before) >= 3, "the spike was a load"
    assert max(sample.running for sample in silence) >= 3, "answers were under way when users left"
    left = len(run.who_left())
    assert left >= 5, "users hung up"
    held_s = run.worked_on_s()
    assert held_s[len(held_s) // 2] < 0.5, (
        "they did, not the service, which would have waited a second longer"
    )
    after = [sample for sample in run.samples if sample.at_s >= heard_s]
    assert min(sample.running + sample.waiting for sample in after) == 0, "every place came free"
    assert run.given_up >= 3, f"of {left} who left, {run.given_up} had their answer given up before its end"


def test_hang_ups_that_do_not_arrive_free_nothing(
    start: Callable[..., Run], real_vllm: tuple[str, int]
) -> None:
    """The negative control: the same run before a vLLM that hears of no hang-up, and nothing is given up."""
    with deaf_relay(*real_vllm) as address:
        overrides = {
            **TINY_OVERRIDES,
            "phases.baseline.for": "8s",
            "phases.spike.rate": "1x",
            "phases.recovery.for": "16s",
            "service.breaker.min_calls": "1000",  # who is answered without the model does not leave
        }
        run = start("hang-ups", f"http://{address}", **overrides)
        run.watch()
        run.end()  # whatever the verdict is: it is short, and half of what vLLM does is for nobody
    assert run.stack()["model_server"]["kind"] == "url"  # type: ignore[index]
    assert len(run.who_left()) >= 5, "users hung up"
    assert run.given_up <= 0, "vLLM computed every answer to its end"


def _is_engine(process: psutil.Process) -> bool:
    try:
        return "EngineCore" in " ".join([process.name(), *process.cmdline()])
    except psutil.Error:  # it ended while it was asked
        return False


def test_a_killed_run_leaves_nothing_of_vllm(start: Callable[..., Run]) -> None:
    """kill -9 while vLLM starts: the warden ends the server and the engine, which is a process of its own."""
    run = start("hang-ups")

    def engines() -> list[psutil.Process]:
        found = marked(str(run.bundle / "stack.json"))
        return [one for one in found if _is_engine(one)]

    end_s = time.monotonic() + READY_WITHIN_S
    while not (run.stack() and engines()):
        assert run.process.poll() is None, run.process.communicate()
        assert time.monotonic() < end_s, "the engine never came"
        time.sleep(0.2)
    run.process.kill()
    run.process.wait()
    end_s = time.monotonic() + 20.0
    while left := marked(str(run.bundle / "stack.json")):
        assert time.monotonic() < end_s, f"left running: {left}"
        time.sleep(0.2)
