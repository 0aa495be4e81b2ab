"""`python -m bench.load`: asks questions and judges answers, in a process of its own, as lightly as it can.

Open loop: arrivals come at a Poisson rate whatever the service does, and every time counts from the moment a
question was due, not from when it could be sent; else a slow service would slow the users down, and look
better. Closed loop: so many callers, each asking again as soon as it has its answer; for costs and for
finding capacity. It says how late it sent and how much of a core it used, so that a figure that it spoilt
itself is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop


@dataclass(slots=True)
class Exchange:
    """One question and what came of it. Times are seconds from when it was due."""

    due: float
    lag_s: float = 0.0
    status: int = 0
    outcome: str = ""
    rung: str = ""
    first_s: float | None = None
    total_s: float | None = None
    tokens: int = 0
    ending: str = "cut"


@dataclass(frozen=True, slots=True)
class Report:
    """All exchanges, and whether the generator kept up."""

    exchanges: list[Exchange]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to ask. The service is told `deadline_s`; unannounced, users leave after `give_up_s`."""

    host: str
    port: int
    path: str
    stream: bool
    give_up_s: float
    deadline_s: float


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one exchange on it."""

    def __init__(self, pool: list[Connection]) -> None:
        self._pool = pool
        self._exchange: Exchange | None = None
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is no subclass of it

    def ask(self, request: bytes, exchange: Exchange) -> asyncio.Future[None]:
        self._exchange = exchange
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._tail = b""
        self._transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self._transport.abort()
            return
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._exchange is None:
            return
        if name.lower() == b"x-rag-outcome":
            self._exchange.outcome = value.decode("latin-1")
        elif name.lower() == b"x-rag-rung":
            self._exchange.rung = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.first_s is None:
            exchange.first_s = time.perf_counter() - exchange.due
        exchange.tokens += body.count(b"event: token\n")
        self._tail = (self._tail + body)[-4096:]

    def on_message_complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        exchange.status = self._parser.get_status_code()
        exchange.total_s = time.perf_counter() - exchange.due
        whole = b"event: done\n" in self._tail or b"[DONE]" in self._tail or self._tail.startswith(b"{")
        exchange.ending = "done" if whole else "error" if b"event: error\n" in self._tail else "cut"
        self._settle()
        if self._parser.should_keep_alive():
            self._pool.append(self)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if self in self._pool:
            self._pool.remove(self)
        self._settle()

    def hang_up(self) -> None:
        if self._exchange is not None:
            self._exchange.ending = "given_up"
            self._transport.abort()

    def _settle(self) -> None:
        self._exchange = None
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


@dataclass(slots=True)
class Client:
    """Asks one question after the other over pooled connections."""

    target: Target
    questions: list[str]
    rng: random.Random
    exchanges: list[Exchange] = field(default_factory=list)
    pool: list[Connection] = field(default_factory=list)

    async def ask(self, due: float) -> None:
        exchange = Exchange(due)
        self.exchanges.append(exchange)
        loop = asyncio.get_running_loop()
        try:
            if self.pool:
                connection = self.pool.pop()
            else:
                _, connection = await loop.create_connection(
                    lambda: Connection(self.pool), self.target.host, self.target.port
                )
        except OSError:
            exchange.ending = "no_connection"
            return
        exchange.lag_s = time.perf_counter() - due
        done = connection.ask(self._request(), exchange)
        leaving = loop.call_later(max(0.0, self.target.give_up_s - exchange.lag_s), connection.hang_up)
        await done
        leaving.cancel()

    def _request(self) -> bytes:
        target = self.target
        body = json.dumps({"question": self.rng.choice(self.questions), "stream": target.stream}).encode()
        head = (
            f"POST {target.path} HTTP/1.1\r\nhost: {target.host}:{target.port}\r\n"
            f"content-type: application/json\r\nx-request-deadline-ms: {int(target.deadline_s * 1000)}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def open_loop(self, rate: float, seconds: float) -> None:
        due = time.perf_counter()
        ends_at = due + seconds
        asking: set[asyncio.Task[None]] = set()
        while due < ends_at:
            wait_s = due - time.perf_counter()
            if wait_s > 0.0:
                await asyncio.sleep(wait_s)
            task = asyncio.get_running_loop().create_task(self.ask(due))
            asking.add(task)
            task.add_done_callback(asking.discard)
            due += self.rng.expovariate(rate)
        if asking:
            await asyncio.wait(asking)

    async def closed_loop(self, callers: int, seconds: float | None, answers: int | None) -> None:
        ends_at = time.perf_counter() + (seconds or 3600.0)

        async def caller() -> None:
            while time.perf_counter() < ends_at and (answers is None or len(self.exchanges) < answers):
                await self.ask(time.perf_counter())

        await asyncio.gather(*(caller() for _ in range(callers)))


async def _run(options: argparse.Namespace, questions: list[str]) -> Report:
    url = urlsplit(options.url)
    target = Target(
        url.hostname or "", url.port or 80, url.path, options.stream, options.give_up_s, options.deadline_s
    )
    client = Client(target, questions, random.Random(options.seed))
    started, cpu_before = time.perf_counter(), time.process_time()
    if options.rate is not None:
        await client.open_loop(options.rate, options.seconds)
    else:
        await client.closed_loop(options.callers, options.seconds, options.answers)
    return Report(client.exchanges, time.perf_counter() - started, time.process_time() - cpu_before)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, help="open loop: arrivals per second")
    parser.add_argument("--callers", type=int, default=8, help="closed loop: how many")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--answers", type=int, help="closed loop: how many in all")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--give-up-s", type=float, default=10.0, help="when the user hangs up")
    parser.add_argument(
        "--deadline-s", type=float, default=10.0, help="the patience that the service is told"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.rate is not None and options.rate <= 0.0:
        parser.error(f"--rate {options.rate:g} is not above 0 arrivals a second")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    questions = json.load(sys.stdin)
    json.dump(asdict(uvloop.run(_run(options, questions))), sys.stdout)


if __name__ == "__main__":
    main()
