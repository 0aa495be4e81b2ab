"""The simulator as a process: its faults and its end. What it shares with vLLM: tests/conformance."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from chaos.control.controls import Controls
from chaos.control.simulator import SimulatorFaults
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import parse_fault
from chaos.safety.undo import perform
from chaos.stack.ports import reserve_port

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
MODEL = "simulated"
MAX_RUNNING = 2
READY_WITHIN_S = 60.0  # a busy machine is not a broken one
PROMPT = (
    "Context:\n[1] json.dumps(obj)\nSerialize obj to a JSON formatted str.\n\n"
    "[2] os.walk(top)\nDirectory tree generator.\n\nQuestion: How do I serialize to JSON?"
)


@dataclass(frozen=True, slots=True)
class Running:
    """A started model server."""

    process: subprocess.Popen[str]
    client: httpx.Client

    def gauge(self, name: str) -> int:
        found = re.search(
            rf"^vllm:{name}\{{[^}}]*\}} (\d+)\.0$", self.client.get("/metrics").text, re.MULTILINE
        )
        assert found, f"vllm:{name} is not in /metrics"
        return int(found[1])


def _body(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Answer."}, {"role": "user", "content": PROMPT}]
    return {"model": MODEL, "messages": messages} | fields


def _start(*, first_token: str, token: str, **more: str) -> Iterator[Running]:
    port = reserve_port()
    pace = ["--first-token", first_token, "--token", token, "--max-running", str(MAX_RUNNING), "--seed", "1"]
    pace += [word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", value)]
    command = [sys.executable, "-m", "rag_service.model_server", "--port", str(port), "--model", MODEL, *pace]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client:
        running = Running(process, client)
        try:
            _eventually(lambda: _healthy(running), "ready")
            yield running
        finally:
            process.kill()
            process.communicate()


def _healthy(running: Running) -> bool:
    assert running.process.poll() is None, running.process.communicate()[1]
    try:
        return running.client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def _eventually(rule: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + READY_WITHIN_S
    while not rule():
        assert time.monotonic() < end_s, f"never {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def quick() -> Iterator[Running]:
    yield from _start(first_token="5ms", token="1ms")


@pytest.fixture(scope="module")
def slow() -> Iterator[Running]:
    yield from _start(first_token="60s", token="50ms")


FAULTS = "/admin/faults"


@pytest.fixture
def faulty(quick: Running) -> Iterator[Callable[..., None]]:
    """Puts faults into the quick server and takes them out again."""

    def put(*faults: dict[str, Any]) -> None:
        answer = quick.client.post(FAULTS, json={"faults": list(faults)})
        assert answer.status_code == 200, answer.text

    yield put
    assert quick.client.delete(FAULTS).json() == {"faults": []}


def _events(running: Running, **fields: Any) -> list[str]:
    with connect_sse(running.client, "POST", CHAT, json=_body(stream=True, **fields)) as source:
        return [event.data for event in source.iter_sse()]


def _text(events: list[str]) -> str:
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_faults_are_read_back_replaced_and_cleared(quick: Running, faulty: Callable[..., None]) -> None:
    """One set at a time; a set with a mistake changes nothing."""
    faulty({"kind": "stall", "after_tokens": 5, "probability": 0.5})
    faulty({"kind": "unavailable", "count": 1})
    wrong = quick.client.post(FAULTS, json={"faults": [{"kind": "stal"}]})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "faults[0].kind")
    assert [fault["kind"] for fault in quick.client.get(FAULTS).json()["faults"]] == ["unavailable"]
    assert quick.client.post(CHAT, json=_body()).status_code == 503
    assert quick.client.post(CHAT, json=_body()).status_code == 200
    assert quick.client.get(FAULTS).json()["faults"][0]["hits"] == 1


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ({"kind": "rate_limited", "retry_after_s": 1.5}, 429, "2"),
        ({"kind": "rate_limited"}, 429, None),
        ({"kind": "unavailable"}, 503, None),
        ({"kind": "unavailable", "retry_after_s": 3.0}, 503, "3"),
        ({"kind": "context_overflow"}, 400, None),
    ],
)
def test_refusals_take_no_place_and_have_their_status(
    quick: Running, faulty: Callable[..., None], fault: dict[str, Any], status: int, retry_after: str | None
) -> None:
    """The status, the error object, and `Retry-After` in whole seconds, rounded up."""
    faulty(fault)
    answer = quick.client.post(CHAT, json=_body(stream=True))
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.json()["error"]["code"] == status


def test_an_abort_is_dressed_as_success(quick: Running, faulty: Callable[..., None]) -> None:
    """HTTP 200, two tokens, `finish_reason: abort`, `[DONE]`."""
    faulty({"kind": "abort", "after_tokens": 2})
    events = _events(quick)
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "abort"
    assert _text(events) == "Serialize obj"
    assert quick.client.post(CHAT, json=_body()).json()["choices"][0]["finish_reason"] == "abort"


def test_a_truncated_stream_ends_cleanly_without_an_ending(
    quick: Running, faulty: Callable[..., None]
) -> None:
    """The body is whole for HTTP; neither a finish reason nor [DONE] is in it."""
    faulty({"kind": "truncate", "after_tokens": 3})
    events = _events(quick)
    assert _text(events) == "Serialize obj to"
    assert all(json.loads(event)["choices"][0]["finish_reason"] is None for event in events)


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_breaks_the_connection_in_mid_body(
    quick: Running, faulty: Callable[..., None], stream: bool
) -> None:
    """The client sees a body without its end, not a short answer."""
    faulty({"kind": "cut", "after_tokens": 3})
    with pytest.raises(httpx.RemoteProtocolError):
        quick.client.post(CHAT, json=_body(stream=stream))
    _eventually(lambda: quick.gauge("num_requests_running") == 0, "free")


def test_a_malformed_chunk_stands_between_good_ones(quick: Running, faulty: Callable[..., None]) -> None:
    """One event is no JSON; those after it are."""
    faulty({"kind": "malformed_chunk", "after_tokens": 3})
    events = _events(quick)
    broken = [event for event in events[:-1] if not event.endswith("}")]
    assert len(broken) == 1 and events[-1] == "[DONE]"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(broken[0])


def test_delays_shift_what_comes_after_them(quick: Running, faulty: Callable[..., None]) -> None:
    """Slow tokens stay slow to the end: none is caught up with, and the first one keeps its own delay."""

    def answered_in_s() -> float:
        started_s = time.monotonic()
        _events(quick)
        return time.monotonic() - started_s

    faulty({"kind": "slow_first_token", "delay_s": 0.5})
    assert answered_in_s() >= 0.5
    faulty({"kind": "slow_tokens", "delay_s": 0.1})
    assert answered_in_s() >= 0.8, "nine tokens, eight delays"


def test_a_stalled_answer_holds_its_place_until_the_client_hangs_up(
    quick: Running, faulty: Callable[..., None]
) -> None:
    """Pings keep coming, tokens do not; clearing the faults does not heal what has stalled."""
    faulty({"kind": "stall", "after_tokens": 2, "ping_s": 0.02})
    with quick.client.stream("POST", CHAT, json=_body(stream=True)) as answer:
        lines = answer.iter_lines()
        while next(lines) != ": ping":
            pass
        quick.client.delete(FAULTS)
        assert [next(lines) for _ in range(4)].count(": ping") == 2
        assert quick.client.get("/admin/state").json()["running"] == 1
    _eventually(lambda: quick.client.get("/admin/state").json()["running"] == 0, "free")


def test_a_page_with_a_name_of_its_own_may_not_put_faults_in(quick: Running) -> None:
    """Loopback is not enough when the Host header names somebody else."""
    answer = quick.client.get(FAULTS, headers={"Host": "rebound.example"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "PermissionDeniedError")


def test_no_header_says_who_calls(quick: Running) -> None:
    """The socket does: else a header let strangers in wherever uvicorn is told to believe proxies."""
    answer = quick.client.get(FAULTS, headers={"X-Forwarded-For": "10.0.0.7"})
    assert answer.status_code == 200


def test_with_a_token_in_the_environment_every_caller_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is not on the command line, where every user of the machine could read it."""
    monkeypatch.setenv("MODEL_SERVER_ADMIN_TOKEN", "secret")
    for running in _start(first_token="5ms", token="1ms", max_waiting="0"):
        assert running.client.get(FAULTS).status_code == 401
        running.client.headers["authorization"] = "Bearer secret"
        assert running.client.get(FAULTS).json() == {"faults": []}
        _overflow_and_crash(running)


def _overflow_and_crash(running: Running) -> None:
    """With no place to wait in, a third answer is refused as vLLM refuses; a crash ends the process."""
    stalled = {"faults": [{"kind": "stall", "after_tokens": 1}]}
    running.client.post(FAULTS, json=stalled)
    with (
        running.client.stream("POST", CHAT, json=_body(stream=True)),
        running.client.stream("POST", CHAT, json=_body(stream=True)),
    ):
        _eventually(lambda: running.gauge("num_requests_running") == MAX_RUNNING, "running")
        full = running.client.post(CHAT, json=_body())
    assert (full.status_code, full.json()["error"]["type"]) == (503, "Service Unavailable")
    _eventually(lambda: running.gauge("num_requests_running") == 0, "freed by the hang-ups")
    running.client.post(FAULTS, json={"faults": [{"kind": "crash", "after_tokens": 1}]})
    with pytest.raises(httpx.TransportError):
        running.client.post(CHAT, json=_body(stream=True))
    assert running.process.wait(10) == -signal.SIGKILL


def test_sigterm_ends_it_in_the_middle_of_a_stream(slow: Running) -> None:
    """Nobody waits for a stream that would last a minute. This test ends the server: it comes last."""
    held = socket.create_connection((str(slow.client.base_url.host), slow.client.base_url.port or 0))
    body = json.dumps(_body(stream=True)).encode()
    held.sendall(
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (CHAT.encode(), len(body), body)
    )
    _eventually(lambda: slow.gauge("num_requests_running") == 1, "running")
    os.kill(slow.process.pid, signal.SIGTERM)
    assert slow.process.wait(10) in (0, -signal.SIGTERM)
    held.close()


@pytest.mark.parametrize("wrong", [["--token", "8"], ["--max-running", "0"], ["--first-token", "9999s"]])
def test_a_wrong_command_line_says_what_is_allowed(wrong: list[str]) -> None:
    """Exit code 2 and the value in question."""
    command = [sys.executable, "-m", "rag_service.model_server", *wrong]
    done = subprocess.run(command, capture_output=True, text=True, timeout=READY_WITHIN_S, check=False)
    assert done.returncode == 2
    assert wrong[1] in done.stderr


def _controls(running: Running) -> Controls:
    """What an experiment's faults act through, with nobody at the fault proxy's address."""
    address = running.client.base_url.netloc.decode()
    return Controls(Toxiproxy("http://127.0.0.1:1"), simulator=SimulatorFaults(address))


@pytest.mark.parametrize(
    ("raw", "whole"),
    [
        ({"kind": "truncate", "after_tokens": 3}, False),
        ({"kind": "abort", "after_tokens": 3}, False),
        ({"kind": "malformed_chunk", "after_tokens": 3}, True),
        ({"kind": "slow_first_token", "delay": "30ms"}, True),
        ({"kind": "slow_tokens", "delay": "2ms"}, True),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_an_experiments_fault_acts_is_counted_and_goes(
    quick: Running, raw: dict[str, Any], whole: bool
) -> None:
    """Over the wire, by name, beside what else is in; the last answer is as the first."""
    fault = parse_fault("it", {"on": "llm", **raw})
    at = _controls(quick)
    before = _text(_events(quick))
    fault.inject(at, "it")
    fault.read_back(at, "it")
    events = _events(quick)
    readable = [event for event in events if event == "[DONE]" or event.endswith("}")]
    assert (_text(readable) == before) is whole
    assert fault.remove(at, "it") == {"hits": 1}
    assert fault.is_gone(at, "it")
    assert _text(_events(quick)) == before
    perform(fault.undo(at, "it"))  # once more does no harm


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ({"kind": "rate_limited", "retry_after": "2s"}, 429),
        ({"kind": "unavailable"}, 503),
        ({"kind": "context_overflow"}, 400),
        ({"kind": "slow_startup", "lasts": "60s"}, 503),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_an_experiments_refusal_acts_is_counted_and_is_undone(
    quick: Running, raw: dict[str, Any], status: int
) -> None:
    """By its record alone, as a rollback does it."""
    fault = parse_fault("it", {"on": "llm", **raw})
    at = _controls(quick)
    fault.inject(at, "it")
    assert quick.client.post(CHAT, json=_body()).status_code == status
    assert "removed it" in perform(fault.undo(at, "it"))
    assert quick.client.post(CHAT, json=_body()).status_code == 200
    assert "already gone" in perform(fault.undo(at, "it"))
