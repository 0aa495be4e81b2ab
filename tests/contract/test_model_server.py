"""The model server as a process: vLLM's manners over the wire."""

import asyncio
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
        found = re.search(rf"^vllm:{name}\{{[^}}]*\}} (\d+)$", self.client.get("/metrics").text, re.MULTILINE)
        assert found, f"vllm:{name} is not in /metrics"
        return int(found[1])


def _body(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Answer."}, {"role": "user", "content": PROMPT}]
    return {"model": MODEL, "messages": messages} | fields


def _start(*, first_token: str, token: str) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    pace = ["--first-token", first_token, "--token", token, "--max-running", str(MAX_RUNNING), "--seed", "1"]
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
    yield from _start(first_token="60s", token="60s")


def test_a_stream_is_framed_as_vllm_frames_it(quick: Running) -> None:
    """Role first, then text, one finish reason, usage when asked for, and [DONE] at the end."""
    body = _body(stream=True, stream_options={"include_usage": True})
    with connect_sse(quick.client, "POST", CHAT, json=body) as source:
        events = [event.data for event in source.iter_sse()]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert text == "Serialize obj to a JSON formatted str. [1]"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == len(text.split())


def test_a_whole_answer_says_what_the_stream_says(quick: Running) -> None:
    """stream=false brings the same text in one object."""
    answer = quick.client.post(CHAT, json=_body()).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "Serialize obj to a JSON formatted str. [1]"
    assert quick.client.post(CHAT, json=_body(max_tokens=2)).json()["choices"][0]["finish_reason"] == "length"


def test_errors_have_vllms_shape(quick: Running) -> None:
    """404 for another model, 400 for a bad body, 404 for another path."""
    other = quick.client.post(CHAT, json=_body() | {"model": "gpt"})
    assert (other.status_code, other.json()["error"]["param"]) == (404, "model")
    assert other.json()["error"]["message"] == "The model `gpt` does not exist."
    bad = quick.client.post(CHAT, content=b"{")
    assert (bad.status_code, bad.json()["error"]["type"]) == (400, "BadRequestError")
    assert quick.client.get("/v1/nothing").json()["error"].keys() == {"message", "type", "param", "code"}


def test_the_served_model_is_listed(quick: Running) -> None:
    """OpenAI clients ask for the list first."""
    assert [card["id"] for card in quick.client.get("/v1/models").json()["data"]] == [MODEL]


def test_clients_that_hang_up_free_their_slots_and_places(slow: Running) -> None:
    """Two run, three wait; when all five are gone nothing runs or waits, long before their first token."""

    async def hold_and_hang_up() -> None:
        async with httpx.AsyncClient(base_url=slow.client.base_url, timeout=60.0) as client:
            held = [asyncio.create_task(client.post(CHAT, json=_body(stream=True))) for _ in range(5)]
            await asyncio.to_thread(_eventually, lambda: slow.gauge("num_requests_waiting") == 3, "waiting")
            assert slow.gauge("num_requests_running") == MAX_RUNNING
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)

    asyncio.run(hold_and_hang_up())
    _eventually(lambda: slow.gauge("num_requests_running") == 0, "free")
    assert slow.gauge("num_requests_waiting") == 0


def test_sigterm_ends_it_in_the_middle_of_a_stream(slow: Running) -> None:
    """Nobody waits for a stream that would last a minute. This test ends the server: it comes last."""
    held = socket.create_connection((str(slow.client.base_url.host), slow.client.base_url.port or 0))
    body = json.dumps(_body(stream=True)).encode()
    held.sendall(
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body)
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
