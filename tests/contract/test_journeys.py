"""The journeys as a process: real sockets, real Locust, and a service that fails in every way it can.

The service here speaks raw HTTP, because a framework would not let it die in the middle of a chunk.
What it does with a request is written in the question.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from journeys.identity import Identity
from journeys.journey import all_journeys
from journeys.plan import load_plan
from journeys.questions import load_questions
from journeys.schedule import schedule

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FIRST_TOKEN_S, GAP_S = 0.15, 0.25
SLACK_S = 1.0
"""How late a busy test machine may be; never how early."""
READY_WITHIN_S = 120.0  # a busy machine is not a broken one

EXPECTED = {  # question: (outcome of a stream, outcome of JSON)
    "full": ("full", "full"),
    "degraded": ("degraded", "degraded"),
    "cut": ("truncated", "truncated"),
    "reset": ("truncated", "truncated"),
    "no last word": ("truncated", "error"),
    "in-band error": ("error", "error"),
    "refuse": ("refused", "refused"),
    "fault": ("error", "error"),
    "hang": ("timeout", "timeout"),
    "mute": ("timeout", "timeout"),
    "slam": ("error", "error"),
}


@dataclass
class Service:
    """A scripted service on a loop of its own; `seen` holds the headers of each question received."""

    seen: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    loop: asyncio.AbstractEventLoop | None = None

    def freeze(self, seconds: float) -> None:
        """Stop everything in the service for a while, from now."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(time.sleep, seconds)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.exchange(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the user hung up, or the test is over
        finally:
            writer.close()

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; False when the connection is to end."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in rest)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if request.startswith("GET /healthz"):
            writer.write(plain(200, b"{}"))
            return True
        said = json.loads(body)
        self.seen.append(headers | {"question": said["question"]})
        act = self.stream if said["stream"] else self.whole
        return await act(said["question"], writer)

    async def whole(self, question: str, writer: asyncio.StreamWriter) -> bool:
        answer = {"answer": "text", "outcome": "full", "degraded": [], "citations": [{"id": "doc-1"}]}
        match question:
            case "full" | "degraded":
                writer.write(plain(200, json.dumps(answer | {"outcome": question}).encode()))
            case "cut" | "reset":
                writer.write(plain(200, json.dumps(answer).encode())[:-5])
                await writer.drain()
                return self.end(writer, abruptly=question == "reset")
            case "no last word":
                writer.write(plain(200, b"{}"))
            case _:
                return await self.fail(question, writer)
        return True

    async def stream(self, question: str, writer: asyncio.StreamWriter) -> bool:
        if question in ("refuse", "fault", "mute", "slam"):
            return await self.fail(question, writer)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        outcome = "degraded" if question == "degraded" else "full"
        writer.write(event("meta", {"outcome": outcome, "degraded": [], "citations": [{"id": "doc-1"}]}))
        await writer.drain()
        if question == "hang":
            await asyncio.sleep(60)
        await asyncio.sleep(FIRST_TOKEN_S)
        for pause_s in (0.0, 0.02, GAP_S, 0.02):
            await asyncio.sleep(pause_s)
            writer.write(event("token", {"text": "word "}))
            await writer.drain()
        if question in ("cut", "reset"):
            return self.end(writer, abruptly=question == "reset")
        if question == "in-band error":
            writer.write(event("error", {"code": "llm_gone", "message": "m", "partial": True}))
        elif question != "no last word":
            writer.write(event("done", {"outcome": outcome, "degraded": [], "finish_reason": "stop"}))
        writer.write(b"0\r\n\r\n")
        return True

    async def fail(self, question: str, writer: asyncio.StreamWriter) -> bool:
        match question:
            case "refuse":
                writer.write(plain(503, b'{"error":{}}', "X-RAG-Outcome: refused\r\nRetry-After: 1\r\n"))
            case "fault" | "in-band error":
                writer.write(plain(500, b"oops"))
            case "slam":
                return self.end(writer, abruptly=False)
            case _:
                await asyncio.sleep(60)
        return True

    def end(self, writer: asyncio.StreamWriter, *, abruptly: bool) -> bool:
        if abruptly:
            writer.transport.abort()
        return False


def plain(status: int, body: bytes, headers: str = "") -> bytes:
    headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode() + body


def event(name: str, data: dict[str, Any]) -> bytes:
    text = f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode()
    return b"%x\r\n%s\r\n" % (len(text), text)


@pytest.fixture
def service() -> Iterator[Service]:
    """The scripted service, running in a thread."""
    scripted, up, down = Service(), threading.Event(), asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
        scripted.port = server.sockets[0].getsockname()[1]
        scripted.loop = asyncio.get_running_loop()
        up.set()
        await down.wait()
        for one in asyncio.all_tasks() - {asyncio.current_task()}:
            one.cancel()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert up.wait(10) and scripted.loop is not None
    yield scripted
    scripted.loop.call_soon_threadsafe(down.set)
    thread.join(10)


@dataclass
class Run:
    """One run of the journeys, from plan to lines."""

    folder: Path
    target: str
    questions: tuple[str, ...]
    changes: dict[str, Any]
    process: subprocess.Popen[str] | None = None
    said: str = ""

    def begin(self) -> None:
        """Write the plan and start Locust as the reference page says."""
        lines = [json.dumps({"question": text, "relevant": ["doc-1"]}) for text in self.questions]
        (self.folder / "questions.jsonl").write_text("\n".join(lines))
        plan = {
            "run_id": "contract",
            "target": self.target,
            "seed": 3,
            "phases": [{"name": "baseline", "start_s": 0.0, "end_s": 3.0, "rate_per_s": 40.0}],
            "journeys": {"ask": 1},
            "max_in_flight": 500,
            "patience_s": 3.0,
            "drain_s": 8.0,
            "questions": str(self.folder / "questions.jsonl"),
            "attempts": str(self.folder / "attempts.jsonl"),
            "ready": str(self.folder / "journeys.ready"),
            "start": str(self.folder / "journeys.start"),
        }
        (self.folder / "plan.json").write_text(json.dumps(plan | self.changes))
        command = [sys.executable, "-m", "locust", "-f", "journeys/locustfile.py"]
        self.process = subprocess.Popen(
            [*command, "--headless", "--only-summary", "--loglevel", "WARNING"],
            cwd=ROOT,
            env=os.environ | {"RAGQUAKE_JOURNEYS_PLAN": str(self.folder / "plan.json")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ready(self) -> dict[str, Any]:
        """What the journeys say when they are warm."""
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not (path := self.folder / "journeys.ready").exists():
            assert self.process is not None and self.process.poll() is None, self.end()
            assert time.monotonic() < give_up_s, f"the journeys were not ready within {READY_WITHIN_S:g} s"
            time.sleep(0.05)
        return dict(json.loads(path.read_text()))

    def start(self) -> float:
        """Let the schedule begin half a second from now; returns t0."""
        t0_s = time.time() + 0.5
        draft = self.folder / "start.part"
        draft.write_text(json.dumps({"t0_s": t0_s}))
        draft.replace(self.folder / "journeys.start")
        return t0_s

    def end(self) -> int:
        """Wait for the process; its exit code."""
        assert self.process is not None
        self.said = self.process.communicate(timeout=READY_WITHIN_S)[0]
        return self.process.returncode

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "attempts.jsonl").read_text().splitlines()]

    def steps_planned(self) -> list[tuple[int, int, str, str]]:
        """(arrival, step, journey, question) of everything that the schedule calls for."""
        plan = load_plan(self.folder / "plan.json")
        needs = {name: one.questions for name, one in all_journeys().items()}
        assert plan.questions is not None
        return [
            (arrival.index, step, arrival.journey, question.text)
            for arrival in schedule(plan, load_questions(plan.questions), needs)
            for step, question in enumerate(arrival.questions, 1)
        ]


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[Any]:
    """Makes a run; whatever is still running at the end of the test is killed."""
    runs: list[Run] = []

    def run(target: str, *questions: str, **changes: Any) -> Run:
        runs.append(Run(tmp_path, target, questions, changes))
        runs[-1].begin()
        return runs[-1]

    yield run
    for one in runs:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_every_way_an_answer_can_end_is_told_apart(service: Service, prepare: Any) -> None:
    """One line for each planned step, with the right outcome, times, claims and ids; exit code 0."""
    run: Run = prepare(f"http://127.0.0.1:{service.port}", *EXPECTED, journeys={"ask": 2, "follow_up": 1})
    ready = run.ready()
    assert ready["arrivals"] == {"baseline": len({step[0] for step in run.steps_planned()})}
    assert run.process is not None and ready["pid"] == run.process.pid
    t0_s = run.start()
    assert run.end() == 0, run.said

    lines = run.lines()
    assert sorted((one["arrival"], one["step"], one["journey"], one["question"]) for one in lines) == sorted(
        run.steps_planned()
    )
    wrong = [
        (one["question"], one["stream"], one["outcome"])
        for one in lines
        if one["outcome"] != EXPECTED[one["question"]][0 if one["stream"] else 1]
    ]
    assert wrong == []
    assert {one["question"] for one in lines if one["stream"]} == set(EXPECTED)
    assert len({one["question"] for one in lines if not one["stream"]}) > len(EXPECTED) / 2

    for one in lines:
        if one["stream"] and one["question"] in ("full", "degraded", "cut", "in-band error"):
            assert FIRST_TOKEN_S - 0.01 <= one["first_token_s"] - one["start_s"] <= FIRST_TOKEN_S + SLACK_S
            assert GAP_S - 0.05 <= one["largest_gap_s"] <= GAP_S + SLACK_S
            assert (one["tokens"], one["citations"]) == (4, ["doc-1"])
        if one["question"] in ("mute", "slam"):
            assert one["status"] is None and one["service_outcome"] is None
        if one["question"] == "refuse":
            assert (one["status"], one["service_outcome"]) == (503, "refused")
        if one["outcome"] == "timeout":
            assert 2.9 <= one["end_s"] - one["start_s"] <= 3.0 + SLACK_S
        assert one["intended_start_s"] <= one["start_s"] + 1e-3
        assert one["latency_s"] == pytest.approx(one["end_s"] - one["intended_start_s"], abs=1e-5)
        assert one["phase"] == ("baseline" if one["intended_start_s"] < t0_s + 3.0 else None)
        place = Identity("contract", one["journey"], one["arrival"], one["step"], 1)
        assert (one["trace_id"], one["span_id"]) == (place.trace_id, place.span_id)

    assert len({one["trace_id"] for one in lines}) == len(lines)
    sent = Counter(headers["traceparent"] for headers in service.seen)
    assert sent == Counter(f"00-{one['trace_id']}-{one['span_id']}-01" for one in lines)
    assert all("ragquake.run=contract" in headers["baggage"] for headers in service.seen)
    assert all(headers["x-request-deadline-ms"] == "3000" for headers in service.seen)
    assert "SSE" in run.said and len(run.said.splitlines()) < 60, "Locust must be quiet"


def test_a_frozen_service_does_not_slow_the_arrivals_down(service: Service, prepare: Any) -> None:
    """During a freeze arrivals go on as planned, and their latency counts the whole wait."""
    freeze_s = 1.5
    run: Run = prepare(
        f"http://127.0.0.1:{service.port}", "full", patience_s=10.0, journeys={"ask": 3, "follow_up": 1}
    )
    run.ready()
    t0_s = run.start()
    time.sleep(max(0.0, t0_s + 1.0 - time.time()))
    frozen_s = time.time()
    service.freeze(freeze_s)
    assert run.end() == 0, run.said

    lines = [one for one in run.lines() if one["step"] == 1]
    assert len(lines) == len({step[0] for step in run.steps_planned()})
    assert {one["outcome"] for one in lines} == {"full"}
    caught = [one for one in lines if frozen_s + 0.1 < one["intended_start_s"] < frozen_s + 0.6]
    assert len(caught) >= 4
    assert all(one["start_s"] - one["intended_start_s"] < SLACK_S for one in lines)
    assert all(one["latency_s"] > frozen_s + freeze_s - one["intended_start_s"] - 0.05 for one in caught)
    before = [one for one in lines if one["intended_start_s"] < frozen_s - 0.9]
    assert all(one["latency_s"] < freeze_s for one in before), "else the freeze proves nothing"


def test_the_run_ends_on_time_with_every_arrival_accounted_for(service: Service, prepare: Any) -> None:
    """Above the cap arrivals are dropped lines; what is open after the drain is a timeout; the exit is 0."""
    run: Run = prepare(
        f"http://127.0.0.1:{service.port}", "mute", max_in_flight=3, patience_s=60.0, drain_s=0.5
    )
    arrivals = run.ready()["arrivals"]["baseline"]
    t0_s = run.start()
    assert run.end() == 0, run.said
    assert time.time() < t0_s + 3.5 + 5.0

    lines = run.lines()
    assert len(lines) == arrivals
    kept = [one for one in lines if not one["dropped"]]
    assert [one["arrival"] for one in sorted(kept, key=lambda one: one["arrival"])] == [1, 2, 3]
    assert {one["outcome"] for one in kept} == {"timeout"}
    assert all(one["end_s"] == pytest.approx(t0_s + 3.5, abs=SLACK_S) for one in kept)
    gone = [one for one in lines if one["dropped"]]
    assert len(gone) == arrivals - 3 > 10
    assert {(one["trace_id"], one["outcome"], one["phase"]) for one in gone} == {(None, None, "baseline")}
    assert len(service.seen) == 3


def test_a_stop_from_outside_leaves_no_attempt_unrecorded(service: Service, prepare: Any) -> None:
    """SIGTERM closes what is open as abandoned and ends with a code that is not success."""
    run: Run = prepare(f"http://127.0.0.1:{service.port}", "mute", patience_s=60.0)
    run.ready()
    t0_s = run.start()
    time.sleep(max(0.0, t0_s + 1.5 - time.time()))
    assert run.process is not None
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 130, run.said
    assert "SIGTERM" in run.said.splitlines()[-1]
    lines = run.lines()
    received = {headers["traceparent"][3:35] for headers in service.seen}
    assert received <= {one["trace_id"] for one in lines}
    assert {one["outcome"] for one in lines} == {"abandoned"} and len(lines) > 5


def test_locust_that_breaks_down_is_not_taken_for_a_person(service: Service, prepare: Any) -> None:
    """Out of descriptors, Locust's own monitor dies and ends it: a failure of the harness, which it says."""
    run: Run = prepare(f"http://127.0.0.1:{service.port}", "mute", patience_s=60.0, drain_s=30.0)
    run.ready()
    assert run.process is not None
    t0_s = run.start()
    time.sleep(max(0.0, t0_s + 1.0 - time.time()))
    process = psutil.Process(run.process.pid)
    process.rlimit(psutil.RLIMIT_NOFILE, (3, process.rlimit(psutil.RLIMIT_NOFILE)[1]))
    assert run.end() == 4, run.said
    assert "Too many open files" in run.said and "broke down" in run.said.splitlines()[-1]


def test_an_unreachable_target_is_a_failure_of_the_environment(prepare: Any) -> None:
    """Nothing is ready when there is nothing to ask; the exit code is 4 and the message says where."""
    run: Run = prepare("http://127.0.0.1:9", "full")
    assert run.end() == 4
    assert "cannot reach http://127.0.0.1:9/healthz" in run.said
    assert not (run.folder / "journeys.ready").exists()


def test_a_wrong_plan_is_refused_before_anything_starts(service: Service, prepare: Any) -> None:
    """A journey that does not exist ends in exit code 2, the names that do exist, and no request."""
    run: Run = prepare(f"http://127.0.0.1:{service.port}", "full", journeys={"dance": 1})
    assert run.end() == 2
    assert "there are ask, follow_up, impatient" in run.said
    assert service.seen == []
