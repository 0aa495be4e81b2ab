"""`python -m bench.token_streams`: holds many streams open at a model server and counts their tokens.

In a process of its own and as light as it can be: sockets, a parser in C, and bytes that are counted, not
read. Each stream begins anew when it ends. The server's CPU time is taken over the same stretch of time, once
all streams are under way. What is asked has the form and length of a RAG service's prompt, since reading it
is part of what an answer costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, cast

import httptools
import psutil
import uvloop

_EVENT = b"data: "
_STEP_S = 0.1
_ANSWER_LIMIT_S = 60.0
ANSWER_TOKENS = 256
_PASSAGE = (
    "The file at the source path gets the name of the destination. If the destination exists, what happens "
    "depends on the system: some replace it in silence, others refuse. Both must be on one disk."
)
#: Six passages and a question, some 1,400 characters.
PROMPT = (
    "Context:\n"
    + "\n\n".join(f"[{number}] Files, part {number}\n{_PASSAGE}" for number in range(1, 7))
    + "\n\nQuestion: How do I rename a file?"
)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a stretch of time brought; `reads` is how often the kernel handed bytes over."""

    tokens: float
    answer_tokens: int
    reads: int
    answers: int
    failed: int
    wall_s: float
    server_cpu_s: float
    client_cpu_s: float


class NoTokens(Exception):
    """The server's answer is not a stream of tokens; the message says what came."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One whole answer: how many events it has, and how many of them carry text (role, end, usage do not)."""

    tokens: int
    events: int


class Stream(asyncio.Protocol):
    """One connection that asks the same again and again; errors and answers that break off have failed.

    One that asks `once` keeps what comes. It is told so before it connects: the first bytes may come before
    its opener goes on.
    """

    def __init__(self, request: bytes, *, once: bool = False) -> None:
        self._request = request
        self.events = 0
        self.reads = 0
        self.answers = 0
        self.failed = 0
        self.body = bytearray()
        self.keep = once
        self.repeat = not once
        self._under_way = False
        self._tail = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is no subclass of it
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._tail += body  # an event's mark may be cut in two
        self.events += self._tail.count(_EVENT)
        self._tail = self._tail[1 - len(_EVENT) :]
        if self.keep:
            self.body += body

    def on_message_complete(self) -> None:
        self._under_way = False
        if self._parser.get_status_code() == 200:
            self.answers += 1
        else:
            self.failed += 1
        if self.repeat and self._parser.should_keep_alive():
            asyncio.get_running_loop().call_soon(self._ask)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.failed += self._under_way
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._tail = b""
        self._under_way = True
        self._transport.write(self._request)

    def leave(self) -> None:
        self.repeat = False
        self._transport.abort()


@dataclass(slots=True)
class Streams:
    """So many connections to one server, opened anew where the server closes them."""

    host: str
    port: int
    request: bytes

    async def first_answer(self) -> Shape:
        """One answer, read whole: all others are taken to be like it. Raises NoTokens."""
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(
            lambda: Stream(self.request, once=True), self.host, self.port
        )
        try:
            await asyncio.wait_for(stream.done, _ANSWER_LIMIT_S)
        except TimeoutError:
            came = f"no whole answer within {_ANSWER_LIMIT_S:g} s; what came"
        else:
            shape = shape_of(bytes(stream.body))
            if stream.answers and shape.tokens:
                return shape
            came = "no whole answer with tokens in what came"
        raise NoTokens(f"{came}: {bytes(stream.body[:300])!r}")

    async def hold(self, number: int, pid: int, warm_up_s: float, seconds: float) -> Counted:
        """So many streams at once, counted for `seconds` after the warm-up. Raises NoTokens."""
        shape = await self.first_answer()
        open_streams: list[Stream] = []
        gone = Counter()

        async def keep_open() -> None:
            loop = asyncio.get_running_loop()
            while True:
                _, stream = await loop.create_connection(lambda: Stream(self.request), self.host, self.port)
                open_streams.append(stream)
                try:
                    await stream.done
                finally:
                    open_streams.remove(stream)
                    gone.add(stream)
                    stream.leave()

        callers = [asyncio.create_task(keep_open()) for _ in range(number)]
        try:
            await asyncio.sleep(warm_up_s)
            server = psutil.Process(pid)
            before = gone.with_all(open_streams)
            server_before, client_before, started = _cpu_s(server), time.process_time(), time.perf_counter()
            while time.perf_counter() - started < seconds:
                await asyncio.sleep(_STEP_S)
                for caller in callers:
                    if caller.done():
                        caller.result()
            after = gone.with_all(open_streams)
            wall_s = time.perf_counter() - started
            server_cpu_s, client_cpu_s = _cpu_s(server) - server_before, time.process_time() - client_before
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
        if after.events == before.events:
            raise NoTokens(f"the first answer came, then no token in {wall_s:.0f} s from {number} streams")
        return Counted(
            tokens=(after.events - before.events) * shape.tokens / shape.events,
            answer_tokens=shape.tokens,
            reads=after.reads - before.reads,
            answers=after.answers - before.answers,
            failed=after.failed - before.failed,
            wall_s=wall_s,
            server_cpu_s=server_cpu_s,
            client_cpu_s=client_cpu_s,
        )


@dataclass(slots=True)
class Counter:
    """Sums over streams."""

    events: int = 0
    reads: int = 0
    answers: int = 0
    failed: int = 0

    def add(self, stream: Stream) -> None:
        self.events += stream.events
        self.reads += stream.reads
        self.answers += stream.answers
        self.failed += stream.failed

    def with_all(self, streams: list[Stream]) -> Counter:
        total = Counter(self.events, self.reads, self.answers, self.failed)
        for stream in streams:
            total.add(stream)
        return total


def _cpu_s(server: psutil.Process) -> float:
    """Of the process and what it has started."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def shape_of(body: bytes) -> Shape:
    """What a whole stream was made of."""
    events = [line[len(_EVENT) :] for line in body.split(b"\n") if line.startswith(_EVENT)]
    return Shape(sum(map(_has_text, events)), len(events))


def _has_text(event: bytes) -> bool:
    try:
        choices: list[dict[str, Any]] = json.loads(event)["choices"]
    except (ValueError, KeyError, TypeError):
        return False
    return any((choice.get("delta") or {}).get("content") for choice in choices)


def chat_request(host: str, port: int, model: str, tokens: int) -> bytes:
    """A streamed chat completion of exactly so many tokens, where the server takes vLLM's parameters."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer none\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.token_streams", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="of the server")
    parser.add_argument("--model", required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=ANSWER_TOKENS, help="of each answer")
    parser.add_argument("--warm-up-s", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    request = chat_request(options.host, options.port, options.model, options.tokens)
    streams = Streams(options.host, options.port, request)
    try:
        found = uvloop.run(streams.hold(options.streams, options.pid, options.warm_up_s, options.seconds))
    except (NoTokens, OSError, psutil.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    json.dump(asdict(found), sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
