"""Searches and writes at the vector DB, sent as lightly as can be, so that the database is what is measured.

Keep-alive connections and hand-made requests: a general HTTP client costs more CPU than the search does, and
on a small machine it would be the bottleneck. It says how late it sent, so that a figure that it spoilt
itself is seen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.processes import LOOPBACK

CORPUS = "/v1/collections/corpus"
_IDLE_S = 2.0  # the server closes a connection after five


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, how long after its intended start it was there, and how late its request was sent."""

    number: int
    body: bytes
    took_s: float
    lag_s: float


class Pool:
    """Connections to one server, as many as are needed at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer. Raises RuntimeError when it is not 200."""
        reader, writer = await self._connection()
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await reader.readexactly(length)
        self._idle.append((reader, writer, time.monotonic()))
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{path}: {head.partition(b' ')[2][:3].decode()} {answer[:200].decode()}")
        return answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The one used last; those that were idle for long may be closed by the server at any moment."""
        while self._idle:
            reader, writer, since_s = self._idle.pop()
            if time.monotonic() - since_s < _IDLE_S:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(LOOPBACK, self._port)

    def close(self) -> None:
        for _, writer, _ in self._idle:
            writer.close()


async def search_open_loop(
    port: int, bodies: Sequence[bytes], *, rate: float, seconds: float, at_start: Callable[[], None]
) -> list[Answered]:
    """Searches at `rate` a second with Poisson gaps, whatever the answers do; bodies in turn."""
    gaps = np.random.default_rng(1).exponential(1 / rate, int(rate * seconds))
    pool = Pool(port)

    async def search(number: int, intended_s: float) -> Answered:
        lag_s = time.perf_counter() - intended_s
        body = await pool.post(f"{CORPUS}/search", bodies[number % len(bodies)])
        return Answered(number % len(bodies), body, time.perf_counter() - intended_s, lag_s)

    for number in range(20):
        await search(number, 0.0)
    at_start()
    start_s = time.perf_counter() + 0.1
    tasks = []
    for number, intended_s in enumerate(start_s + np.cumsum(gaps)):
        await asyncio.sleep(max(0.0, intended_s - time.perf_counter()))
        tasks.append(asyncio.create_task(search(number, intended_s)))
    done = await asyncio.gather(*tasks)
    pool.close()
    return done


async def write_closed_loop(port: int, callers: int, seconds: float, dimension: int) -> float:
    """Acknowledged writes of one point a second, from callers that write one after the other."""
    vector = [1.0] + [0.0] * (dimension - 1)
    pool = Pool(port)
    await pool.post(f"{CORPUS}/upsert", _point("first", vector))  # the first one makes the log
    ends_s = time.perf_counter() + seconds

    async def write(caller: int) -> int:
        count, body = 0, _point(f"written-{caller}", vector)
        while time.perf_counter() < ends_s:
            await pool.post(f"{CORPUS}/upsert", body)
            count += 1
        return count

    counts = await asyncio.gather(*(write(caller) for caller in range(callers)))
    pool.close()
    return sum(counts) / seconds


def search_body(query: npt.NDArray[np.float32], k: int) -> bytes:
    """A search as the service sends it: six decimals are more than a float32 cosine needs."""
    return json.dumps({"vectors": [[round(x, 6) for x in query.tolist()]], "k": k}).encode()


def _point(point_id: str, vector: Sequence[float]) -> bytes:
    point: dict[str, Any] = {"id": point_id, "vector": vector}
    return json.dumps({"points": [point]}).encode()
