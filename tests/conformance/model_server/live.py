"""A model server that runs, and what its clients can ask it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MAX_NUM_SEQS = 4
MAX_MODEL_LEN = 4096
LONG = 3500
"""Tokens of an answer that nobody waits for: more than ten seconds on either server."""
WITHIN_S = 30.0
"""A busy machine is not a broken one; whatever is waited for comes within a second on a quiet one."""
_NUMBERS = count(int(time.time()) % 100_000)


@dataclass(frozen=True, slots=True)
class Live:
    """One running model server; `kind` is `simulator` or `vllm`."""

    kind: str
    model: str
    client: httpx.Client

    def body(self, path: str, words: str, **fields: Any) -> dict[str, Any]:
        """A request for an answer; chat or text by the path."""
        asked: dict[str, Any] = {"prompt": words}
        if path == CHAT:
            asked = {
                "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": words}]
            }
        return {"model": self.model, "temperature": 0, **asked, **fields}

    def ask(self, path: str, words: str, **fields: Any) -> dict[str, Any]:
        """A whole answer."""
        answer = self.client.post(path, json=self.body(path, words, **fields))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def events(self, path: str, words: str, **fields: Any) -> list[str]:
        """The data of a stream's events. Whatever is no event with one line of data fails here."""
        asked = self.body(path, words, stream=True, **fields)
        with self.client.stream("POST", path, json=asked) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
            body = answer.read().decode()
        assert body.endswith("\n\n")
        found = body.removesuffix("\n\n").split("\n\n")
        assert all(event.startswith("data: ") and "\n" not in event for event in found)
        return [event.removeprefix("data: ") for event in found]

    def chunks(self, path: str, words: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of a stream that came to its end."""
        *chunks, last = self.events(path, words, **fields)
        assert last == "[DONE]"
        return [json.loads(chunk) for chunk in chunks]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name whose labels are these."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.client.get("/metrics").text)
            for sample in family.samples
            if sample.name == f"vllm:{name}" and labels.items() <= sample.labels.items()
        ]
        assert found, f"vllm:{name} with {labels} is not in /metrics"
        return sum(found)

    @property
    def running(self) -> int:
        return int(self.metric("num_requests_running"))

    @property
    def waiting(self) -> int:
        return int(self.metric("num_requests_waiting"))

    @contextlib.contextmanager
    def callers(self, number: int, path: str = CHAT, **fields: Any) -> Iterator[list[socket.socket]]:
        """So many callers who wait for a long answer; whoever is left hangs up at the end."""
        asked = {"max_tokens": LONG, "ignore_eos": True, "stream": True, **fields}
        host, port = str(self.client.base_url.host), self.client.base_url.port or 0
        held = []
        try:
            for _ in range(number):
                held.append(socket.create_connection((host, port)))
                held[-1].sendall(_request(path, self.body(path, a_question(), **asked)))
            yield held
        finally:
            for one in held:
                one.close()


def _request(path: str, body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(text)}\r\n\r\n".encode() + text


def a_question() -> str:
    """A prompt that nobody has asked before, so that no cache holds it."""
    return (
        f"Context:\n[1] json.dumps(obj, variant {next(_NUMBERS)})\nSerialize obj to a JSON formatted str. "
        "If skipkeys is true then dict keys that are not of a basic type are skipped instead of raising.\n\n"
        "[2] os.walk(top)\nDirectory tree generator.\n\nQuestion: How do I serialize to JSON?"
    )


def text_of(path: str, chunks: list[dict[str, Any]]) -> str:
    """What a stream said."""
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    if path == CHAT:
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    return "".join(choice["text"] for choice in choices)


def said(path: str, answer: dict[str, Any]) -> str:
    """What a whole answer says."""
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if path == CHAT else choice["text"])


def eventually(rule: Callable[[], bool], what: str) -> None:
    """Waits until the rule holds."""
    end_s = time.monotonic() + WITHIN_S
    while not rule():
        assert time.monotonic() < end_s, f"never {what}"
        time.sleep(0.02)
