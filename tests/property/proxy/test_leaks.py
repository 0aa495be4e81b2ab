"""Ten thousand connections through every kind of proxy leave nothing behind: tasks, sockets, timers, memory.

All of it runs in this process, on one loop, so that each of these can be counted. What is counted after some
hundreds of connections is counted again after ten thousand more. Memory is counted in blocks of the
interpreter's allocator, which costs nothing, and in resident bytes for what is larger than such a block.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import linecache
import random
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from chaos.control.fault_proxy import Toxic
from chaos.proxy import proxy as proxy_module
from chaos.proxy.asked import ProxyInput
from chaos.proxy.evidence import Evidence
from chaos.proxy.registry import Registry

pytestmark = pytest.mark.slow

CONNECTIONS = 10_000
WARM_UP = 500
AT_ONCE = 100
#: One block for ten connections; a connection that stays behind has some forty.
MOST_GAINED_BLOCKS = CONNECTIONS // 10
#: Less than a kilobyte a connection: arenas and what the allocator keeps, but no buffer of each.
MOST_GAINED_BYTES = 8 * 1024 * 1024
SETTLE_S = 60.0
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000
RESET = struct.pack("ii", 1, 0)

TOXICS = {
    "plain": (),
    "latency": (Toxic("t", "latency"),),
    "chain": (Toxic("s", "slicer"), Toxic("b", "bandwidth", "upstream"), Toxic("l", "latency", "upstream")),
    "timeout": (Toxic("t", "timeout"),),
    "reset": (Toxic("t", "reset_peer", "upstream"),),
    "limit": (Toxic("t", "limit_data"),),
    "slow_close": (Toxic("t", "slow_close"),),
    "http": (),
    "dead": (),
}
ATTRIBUTES = {
    "latency": {"latency": 3, "jitter": 2},
    "slicer": {"average_size": 500, "size_variation": 100, "delay": 10},
    "bandwidth": {"rate": 5000},
    "timeout": {"timeout": 5},
    "reset_peer": {"timeout": 3},
    "limit_data": {"bytes": 1000},
    "slow_close": {"delay": 4},
}


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds and has to let go when nobody is connected."""

    connections: int
    held_bytes: int
    tasks: int
    descriptors: int
    timers: int


@dataclass(frozen=True, slots=True)
class Count:
    """That, and the memory which it takes."""

    held: Held
    blocks: int
    resident_bytes: int


class Lab:
    """A registry with one proxy for each kind of fault, and an upstream."""

    def __init__(self) -> None:
        self.registry = Registry(random.Random(1), Evidence(room=100))
        self.rng = random.Random(2)
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=1024)
        self.server = server
        upstream = "{}:{}".format(*server.sockets[0].getsockname())
        for name, toxics in TOXICS.items():
            wanted = ProxyInput(
                name, "127.0.0.1:0", "127.0.0.1:1" if name == "dead" else upstream, True, http=name == "http"
            )
            made = await self.registry.create(wanted)
            self.ports[name] = int(made.listen.rpartition(":")[2])
            for toxic in toxics:
                await self.registry.add_toxic(name, toxic, ATTRIBUTES[toxic.type])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
            await reader.read()
        writer.transport.abort()

    async def one(self) -> None:
        """One client with manners of its own: it waits, or leaves early, half-closes or resets."""
        name = self.rng.choice(list(self.ports))
        way = self.rng.randrange(5)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[name])
                try:
                    if way == 0:
                        return
                    writer.write(GET[: 9 if way == 1 else None])
                    if way == 2 and name != "http":
                        writer.write_eof()
                    if way in (2, 3):
                        with contextlib.suppress(asyncio.IncompleteReadError):
                            await reader.readexactly(len(ANSWER))
                    if way == 4:
                        sock = writer.get_extra_info("socket")
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                finally:
                    writer.transport.abort()

    async def many(self, connections: int) -> None:
        for start in range(0, connections, AT_ONCE):
            await asyncio.gather(*(self.one() for _ in range(AT_ONCE)))
            if start % 1000 == 0:  # what is cut off in the middle must leave nothing either
                await self.registry.update("plain", enabled=False)
                await self.registry.update("plain", enabled=True)

    def held(self) -> Held:
        loop = asyncio.get_running_loop()
        return Held(
            connections=sum(proxy.traffic.open for proxy in self.registry.proxies()),
            held_bytes=self.registry.held.bytes,
            tasks=len(asyncio.all_tasks()),
            descriptors=len(list(Path("/dev/fd").iterdir())),
            timers=sum(not timer.cancelled() for timer in loop._scheduled),  # type: ignore[attr-defined]
        )

    async def count(self, quiet: Held | None = None) -> Count:
        """What is held once everything has come to its end: to `quiet`, or until nothing changes any more."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + SETTLE_S
        before: list[Held] = []
        while loop.time() < ends_s:
            before = [*before[-4:], self.held()]
            if before[-1] == quiet or (
                quiet is None and before[-1].connections == 0 and len({*before}) == 1 < len(before)
            ):
                break
            await asyncio.sleep(0.05)
        gc.collect()
        linecache.clearcache()  # a traceback that was logged meanwhile keeps each line of its files
        resident_bytes = psutil.Process().memory_info().rss
        return Count(self.held(), sys.getallocatedblocks(), resident_bytes)


def run(work: Callable[[Lab], Awaitable[tuple[Count, Count]]]) -> tuple[Count, Count]:
    """Counts before and after, on asyncio's own loop, whose timers can be seen."""

    async def in_lab() -> tuple[Count, Count]:
        lab = Lab()
        await lab.start()
        try:
            return await work(lab)
        finally:
            await lab.registry.stop()
            lab.server.close()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(in_lab())


def test_ten_thousand_connections_leave_nothing() -> None:
    """Everything that can be counted is what it was; memory gains no block for ten connections."""

    async def work(lab: Lab) -> tuple[Count, Count]:
        await lab.many(WARM_UP)
        before = await lab.count()
        await lab.many(CONNECTIONS)
        return before, await lab.count(before.held)

    before, after = run(work)
    assert after.held == before.held
    assert (after.held.connections, after.held.held_bytes) == (0, 0)
    assert after.blocks - before.blocks < MOST_GAINED_BLOCKS
    assert after.resident_bytes - before.resident_bytes < MOST_GAINED_BYTES


def test_a_leak_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: every tenth connection kept by mistake goes past the limit in a tenth of the run."""
    kept: list[object] = []

    class Forgetful(proxy_module.Connection):
        __slots__ = ()

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            if self.number % 10 == 0:
                kept.append(self)

    monkeypatch.setattr(proxy_module, "Connection", Forgetful)

    async def work(lab: Lab) -> tuple[Count, Count]:
        await lab.many(WARM_UP)
        before = await lab.count()
        await lab.many(CONNECTIONS // 10)
        return before, await lab.count(before.held)

    before, after = run(work)
    assert after.blocks - before.blocks > MOST_GAINED_BLOCKS
