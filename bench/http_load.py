"""`python -m bench.http_load`: so many keep-alive connections ask one address; what came back, as JSON.

Each connection asks anew when it has its answer, at once or after thinking (`--think-s`, exponential).
Answers are counted by bytes: the first tells how long all are. Times count from when a request is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import psutil
import uvloop

CONNECT_LIMIT_S = 20.0
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one client saw in `wall_s`; `cpu_s` is its own CPU time."""

    requests: int
    received_bytes: int
    failed: int
    wall_s: float
    cpu_s: float
    p50_s: float
    p99_s: float
    #: CPU time in `wall_s` of the processes asked for, in that order.
    cpu_of_s: Sequence[float] = ()


class Asker(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._left = 0
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self) -> None:
        self._left = self._load.answer_bytes
        self._asked_s = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        load = self._load
        if not self._left:  # only the very first answer: how long is it?
            self._head += data
            head, end, _ = self._head.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            if not end or found is None:
                return
            load.answer_bytes = len(head) + 4 + int(found[1])
            self._left = load.answer_bytes - len(self._head)
        else:
            self._left -= len(data)
        load.received_bytes += len(data)
        if self._left:
            return
        load.took_s.append(time.perf_counter() - self._asked_s)
        if not load.running:
            return
        if load.think_s:
            load.loop.call_later(load.rng.expovariate(1.0 / load.think_s), self.ask)
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._load.failed += self._load.running


class Load:
    """All connections, and what they have seen since counting began."""

    def __init__(self, port: int, path: str, think_s: float) -> None:
        self.port = port
        self.request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self.think_s = think_s
        self.rng = random.Random(1)
        self.loop = asyncio.get_running_loop()
        self.answer_bytes = self.received_bytes = self.failed = 0
        self.took_s = array("d")
        self.running = True

    async def run(self, connections: int, warm_up_s: float, seconds: float, pids: Sequence[int]) -> Counted:
        others = [psutil.Process(pid) for pid in pids]
        async with asyncio.timeout(CONNECT_LIMIT_S):
            first = await self._connect()
            first.ask()
            while not self.took_s:
                await asyncio.sleep(0.001)
            for _ in range(connections - 1):
                (await self._connect()).ask()
        await asyncio.sleep(warm_up_s)
        self.took_s, self.received_bytes = array("d"), 0
        before_s = [_cpu_s(each) for each in others]
        started_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
        took_s, received_bytes = self.took_s[:], self.received_bytes
        cpu_of_s = [_cpu_s(each) - before for each, before in zip(others, before_s, strict=True)]
        self.running = False
        p50_s, p99_s = np.percentile(took_s, [50, 99]) if took_s else (0.0, 0.0)
        return Counted(
            len(took_s), received_bytes, self.failed, wall_s, cpu_s, float(p50_s), float(p99_s), cpu_of_s
        )

    async def _connect(self) -> Asker:
        _, asker = await self.loop.create_connection(lambda: Asker(self), "127.0.0.1", self.port)
        return asker


async def load(options: argparse.Namespace) -> Counted:
    return await Load(options.port, options.path, options.think_s).run(
        options.connections, options.warm_up_s, options.seconds, options.pid
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.http_load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm-up-s", type=float, default=0.3)
    parser.add_argument("--think-s", type=float, default=0.0)
    parser.add_argument("--pid", type=int, action="append", default=[], help="whose CPU time to count, too")
    try:
        counted = uvloop.run(load(parser.parse_args(arguments)))
    except (OSError, TimeoutError) as error:
        print(f"no answers: {type(error).__name__} {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(counted)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
