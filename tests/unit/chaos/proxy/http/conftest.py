"""A fault on a made-up answer, and a hop between a raw client and a raw upstream."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaos.proxy.evidence import Evidence
from chaos.proxy.http.fault_set import HttpFaults, Struck
from chaos.proxy.http.faults import HttpFaultSpec, http_fault_kinds
from chaos.proxy.http.hop import Hop
from chaos.proxy.http.passage import AnswerHead, Headers, RequestHead
from tests.jumping_loop import JumpingLoop, VirtualClock


@dataclass
class Told:
    """What came of one answer: its head, its pieces with their times, and what the faults say they did."""

    status: int = 0
    headers: Headers = field(default_factory=lambda: Headers([]))
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    error: BaseException | None = None
    upstream_asked: bool = True
    request_body: bytes = b""
    struck: Struck | None = None

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    @property
    def events(self) -> list[bytes]:
        return [part + b"\n\n" for part in self.body.split(b"\n\n") if part]

    @property
    def strikes(self) -> list[Any]:
        return self.struck.passage.strikes() if self.struck else []


class Faulted:
    """Faults on made-up exchanges; a number among the pieces of an answer is a wait."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.faults = HttpFaults(random.Random(1), clock)

    def add(self, type_: str, name: str = "", **attributes: Any) -> None:
        """A fault for all requests; `path`, `method`, `probability` and `count` are the fault's own."""
        own = {
            key: attributes.pop(key)
            for key in ("path", "method", "probability", "count")
            if key in attributes
        }
        read = http_fault_kinds()[type_].read(attributes)
        self.faults.add(HttpFaultSpec(name or type_, type_, read, **own))

    async def ask(
        self,
        pieces: list[bytes | float],
        *,
        content_type: str = "application/json",
        encoding: str = "identity",
        status: int = 200,
        request: bytes = b"",
        path: str = "/v1/x",
        method: str = "POST",
        for_s: float | None = None,
    ) -> Told:
        """One request; the client gives up after `for_s`."""
        told = Told()
        start_s = self.clock()
        head = RequestHead(method, path, Headers([(b"host", b"x"), (b"content-length", b"0")]))
        told.struck = struck = self.faults.begin(head)
        told.request_body = request
        own = None
        if struck is not None:
            own = struck.passage.own_answer
            told.request_body = struck.passage.change_request(request) or request
        told.upstream_asked = own is None

        async def body() -> AsyncIterator[bytes]:
            for piece in pieces if own is None else [own.body]:
                if isinstance(piece, bytes):
                    yield piece
                else:
                    await asyncio.sleep(piece)

        headers = [(b"Content-Type", content_type.encode()), (b"Content-Length", b"1")]
        headers.append((b"Content-Encoding", encoding.encode()))
        answer = AnswerHead(status, b"OK", Headers(headers))
        if own is not None:
            own.goes_out()
            answer = AnswerHead(own.status, b"", Headers(list(own.headers)))
        passing: Any = body()
        try:
            async with asyncio.timeout(for_s):
                for change in struck.passage.answer_changes if struck else ():
                    passing = await change(answer, passing)
                told.status, told.headers = answer.status, answer.headers
                async for piece in passing:
                    told.pieces.append((round(self.clock() - start_s, 3), piece))
        except Exception as error:
            told.error = error
        finally:
            if struck is not None:
                struck.end()
        return told


class RawClient(asyncio.Protocol):
    """The end of a socket pair that the proxy's connection would have."""

    def __init__(self) -> None:
        self.connection = self
        self.data = bytearray()
        self.ended = asyncio.Event()
        self.was_reset = False
        self.transport: Any = None
        self._came = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._came.set()

    def eof_received(self) -> bool:
        self.ended.set()
        self._came.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any loss is an end
        self.ended.set()
        self._came.set()

    def end_with_reset(self) -> None:
        self.was_reset = True

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def until(self, text: bytes) -> bytes:
        """All that came, once this is in it."""
        while text not in self.data:
            assert not self.ended.is_set(), bytes(self.data)
            self._came.clear()
            await self._came.wait()
        return bytes(self.data)

    async def rest(self) -> bytes:
        """All that came, once the other side has closed."""
        await self.ended.wait()
        return bytes(self.data)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Bench:
    """A hop in front of a raw upstream."""

    def __init__(self, clock: VirtualClock) -> None:
        self.evidence = Evidence(now_s=clock)
        self.hop = Hop("p", random.Random(1), self.evidence, dial_timeout_s=5.0)
        self.accepted = 0
        self._servers: list[asyncio.Server] = []
        self._taken: list[socket.socket] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def upstream(self, serve: Serve) -> str:
        """A server that treats each connection with `serve`; its address."""

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted += 1
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(one, "127.0.0.1", 0)
        self._servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def nowhere(self) -> str:
        """An address that is taken and does not listen: nobody can be reached there, or come in."""
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        self._taken.append(taken)
        return f"127.0.0.1:{taken.getsockname()[1]}"

    async def client(self, upstream: str) -> RawClient:
        client = RawClient()
        await self.hop.dial(7, upstream)(asyncio.get_running_loop(), lambda: client)  # type: ignore[arg-type, return-value]
        return client

    def fault(self, type_: str, **attributes: Any) -> None:
        own = {
            key: attributes.pop(key)
            for key in ("path", "method", "probability", "count")
            if key in attributes
        }
        self.hop.faults.add(HttpFaultSpec(type_, type_, http_fault_kinds()[type_].read(attributes), **own))

    async def close(self) -> None:
        self.hop.stop()
        for listening in (*self._servers, *self._taken):
            listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def run(clock: VirtualClock) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine in virtual time."""

    def run_it(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=lambda: JumpingLoop(clock)) as runner:
            return runner.run(work)

    return run_it


@pytest.fixture
def faulted(clock: VirtualClock) -> Faulted:
    return Faulted(clock)


@pytest.fixture
def with_bench(
    clock: VirtualClock, run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> Callable[[Callable[[Bench], Awaitable[None]]], None]:
    """Run a test against a hop, and put everything away afterwards; nothing may go wrong unseen."""

    def run_it(work: Callable[[Bench], Awaitable[None]]) -> None:
        async def whole() -> None:
            bench = Bench(clock)
            try:
                await work(bench)
            finally:
                await bench.close()

        run(whole())
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []

    return run_it
