"""Connections that end before they have an upstream: closed, given back, and forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator

import pytest

from chaos.proxy import connection as connection_module
from chaos.proxy.acceptor import Descriptors
from chaos.proxy.asked import ProxyInput
from chaos.proxy.registry import Registry

Act = Callable[[Registry, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address where connecting neither succeeds nor fails: its queue is full."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    filling = [socket.socket() for _ in range(3)]
    for each in filling:
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    yield f"127.0.0.1:{full.getsockname()[1]}"
    for each in (full, *filling):
        each.close()


async def opened(registry: Registry) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client's connection to the proxy `p`, which has read what it sent."""
    host, _, port = registry.state("p").listen.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hello")
    while registry.find("p").traffic.from_client_bytes == 0:
        await asyncio.sleep(0)
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""


async def disable(registry: Registry, _: asyncio.StreamWriter) -> None:
    await registry.update("p", enabled=False)


async def break_off(_: Registry, writer: asyncio.StreamWriter) -> None:
    """With a reset: an end alone could be that of a client that waits for its answer."""
    sock = writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def take_a_timeout_away(registry: Registry, _: asyncio.StreamWriter) -> None:
    from chaos.control.fault_proxy import Toxic

    await registry.add_toxic("p", Toxic("t", "timeout"), {})
    await registry.remove_toxic("p", "t")


async def wait(_: Registry, __: asyncio.StreamWriter) -> None:
    """Until dialling takes too long."""


@pytest.mark.parametrize("act", [disable, break_off, take_a_timeout_away, wait])
def test_a_connection_that_ends_while_it_is_dialled_leaves_nothing(
    black_hole: str, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends it, and however: no connection, no descriptor, and the client sees the end."""
    monkeypatch.setattr(connection_module, "DIAL_TIMEOUT_S", 0.05 if act is wait else 30.0)

    async def run() -> None:
        registry = Registry(random.Random(1), descriptors=Descriptors(100))
        await registry.create(ProxyInput("p", "127.0.0.1:0", black_hole, True))
        reader, writer = await opened(registry)
        assert registry.descriptors.taken == 2
        await act(registry, writer)
        if act is not break_off:
            await ended(reader)
        async with asyncio.timeout(5):
            while registry.find("p").traffic.open or registry.descriptors.taken:
                await asyncio.sleep(0.001)
        writer.close()
        await registry.stop()

    asyncio.run(run())


def test_a_connection_that_is_disabled_while_it_is_accepted_leaves_nothing() -> None:
    """Its socket is taken and not yet joined when the proxy closes."""

    async def run() -> None:
        registry = Registry(random.Random(1), descriptors=Descriptors(100))
        await registry.create(ProxyInput("p", "127.0.0.1:0", "127.0.0.1:9", True))
        host, _, port = registry.state("p").listen.rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            while not registry.descriptors.taken:
                await asyncio.sleep(0)
            registry.find("p").stop()
            async with asyncio.timeout(5):
                while registry.find("p").traffic.open or registry.descriptors.taken:
                    await asyncio.sleep(0.001)
            client.setblocking(False)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
        await registry.stop()

    asyncio.run(run())


def test_a_reset_comes_after_what_was_sent() -> None:
    """`end_with_reset` lets the client have all that the upstream sent, then ECONNRESET."""

    async def run() -> None:
        registry = Registry(random.Random(1))
        data = b"x" * 3_000_000

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for connection in registry.find("p")._connections:
                connection.end_with_reset()
            writer.write(data)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await registry.create(ProxyInput("p", "127.0.0.1:0", upstream, True))
        host, _, port = registry.state("p").listen.rpartition(":")
        client = socket.create_connection((host, int(port)))
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        got = 0
        with pytest.raises(ConnectionResetError):
            while piece := await loop.sock_recv(client, 65536):
                got += len(piece)
        assert got == len(data)
        client.close()
        server.close()
        await registry.stop()

    asyncio.run(run())
