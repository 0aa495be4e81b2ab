"""A client that sees everything: each read and its time, how the connection ended, and what the answer says.

A socket and h11 rather than an HTTP library, because a reset, a clean end in mid-answer, silence, and an end
that comes late must not look alike.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import h11

PATIENCE_S = 1.5

Outcome = Literal["whole", "refused", "reset", "broken off", "silent"]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to one dependency; with `closes` the connection is to end behind its answer."""

    path: str
    body: Any
    closes: bool = False

    def larger(self, times: int) -> Question:
        """A search for so many vectors at once."""
        if times == 1:
            return self
        return replace(self, body=self.body | {"vectors": self.body["vectors"] * times})


@dataclass(slots=True)
class Seen:
    """What came of one request; seconds count from when it was sent."""

    question: Question
    at_s: float
    outcome: Outcome = "silent"
    status: int = 0
    retry_after: str | None = None
    head_s: float | None = None
    body_s: float | None = None
    """When the first byte of the body came."""
    whole_s: float | None = None
    """When the answer was complete, which may be before its connection's end."""
    over_s: float = 0.0
    reads: int = 0
    body: bytes = b""
    token_s: list[float] = field(default_factory=list)
    text: str = ""
    finish: str | None = None
    is_done: bool = False
    unreadable: int = 0

    @property
    def json(self) -> Any:
        """The body, or nothing where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def says(self) -> tuple[object, ...]:
        """All of the answer but its times."""
        words: object = self.body if not self.text else (self.text, self.finish, self.is_done)
        return self.outcome, self.status, words, self.unreadable


def ask(port: int, question: Question) -> Seen:
    """One request on a connection of its own, read until the answer is whole, or its connection's end."""
    seen, http = Seen(question, time.monotonic()), h11.Connection(h11.CLIENT)
    content = json.dumps(question.body).encode()
    headers = [
        ("host", "there"),
        ("content-type", "application/json"),
        ("content-length", str(len(content))),
        ("connection", "close" if question.closes else "keep-alive"),
    ]
    request = h11.Request(method="POST", target=question.path, headers=headers)
    sent = [http.send(part) for part in (request, h11.Data(data=content), h11.EndOfMessage())]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as stream:
            stream.sendall(b"".join(part or b"" for part in sent))
            _read(stream, http, seen)
    except ConnectionRefusedError:
        seen.outcome = "refused"
    except ConnectionError:
        seen.outcome = "reset"
    except TimeoutError:
        seen.outcome = "silent"
    except h11.RemoteProtocolError:
        seen.outcome = "broken off"
    seen.over_s = time.monotonic() - seen.at_s
    return seen


def _read(stream: socket.socket, http: h11.Connection, seen: Seen) -> None:
    rest = b""
    while True:
        left_s = PATIENCE_S - (time.monotonic() - seen.at_s)
        if left_s <= 0:
            raise TimeoutError
        stream.settimeout(left_s)
        data = stream.recv(65_536)
        seen.reads += 1
        now_s = time.monotonic() - seen.at_s
        if seen.whole_s is None:
            http.receive_data(data)
        while seen.whole_s is None and (event := http.next_event()) is not h11.NEED_DATA:
            match event:
                case h11.Response():
                    seen.status, seen.head_s = event.status_code, now_s
                    seen.retry_after = dict(event.headers).get(b"retry-after", b"").decode() or None
                case h11.Data():
                    seen.body_s = seen.body_s if seen.body_s is not None else now_s
                    seen.body += event.data
                    *lines, rest = (rest + bytes(event.data)).split(b"\n")
                    for line in lines:
                        _take(line.decode("utf-8", "replace").strip(), seen, now_s)
                case h11.EndOfMessage():
                    seen.outcome, seen.whole_s = "whole", now_s
                case _:
                    raise h11.RemoteProtocolError("the connection ended before an answer")
        if not data or (seen.whole_s is not None and not seen.question.closes):
            return


def _take(line: str, seen: Seen, at_s: float) -> None:
    if not line.startswith("data:"):
        return
    if line == "data: [DONE]":
        seen.is_done = True
        return
    try:
        choices = json.loads(line.removeprefix("data:"))["choices"]
    except (ValueError, KeyError):
        seen.unreadable += 1
        return
    for choice in choices:
        if text := choice.get("delta", {}).get("content"):
            seen.text += text
            seen.token_s.append(at_s)
        seen.finish = choice.get("finish_reason") or seen.finish


class Crowd:
    """So many who open a connection, say nothing, and come again when it is dropped."""

    def __init__(self, address: tuple[str, int], size: int) -> None:
        self._address = address
        self._over = threading.Event()
        self._members = [threading.Thread(target=self._stay, daemon=True) for _ in range(size)]

    def __enter__(self) -> Crowd:
        for member in self._members:
            member.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for member in self._members:
            member.join()

    def _stay(self) -> None:
        while not self._over.wait(0.01):
            with suppress(OSError), socket.create_connection(self._address, timeout=0.2) as stream:
                while not self._over.is_set():
                    with suppress(TimeoutError):
                        if not stream.recv(1):
                            break


class Traffic:
    """Three clients who ask one question after the other, in turns, until they are stopped."""

    def __init__(self, port: int, questions: tuple[Question, ...]) -> None:
        self.seen: list[Seen] = []
        self.port = port
        self._questions = questions
        self._over = threading.Event()
        self._asked = 0
        self._clients = [threading.Thread(target=self._ask, daemon=True) for _ in range(3)]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            self._asked += 1
            self.seen.append(ask(self.port, self._questions[self._asked % len(self._questions)]))
            self._over.wait(0.02)

    def since(self, at_s: float) -> list[Seen]:
        """What came of the requests that were sent since then."""
        return [one for one in list(self.seen) if one.at_s >= at_s]

    def wait_for(
        self, holds: Callable[[Seen], bool], times: int, since_s: float, within_s: float = 30.0
    ) -> list[Seen]:
        """Until so many requests that were sent since then came to that."""
        until_s = time.monotonic() + within_s
        while len(found := [one for one in self.since(since_s) if holds(one)]) < times:
            assert time.monotonic() < until_s, f"only {len(found)} of {times}: {self.since(since_s)[-5:]}"
            time.sleep(0.02)
        return found
