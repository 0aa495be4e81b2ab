"""What was done to whom, when and how much: so that "did the fault bite" has an answer for each request.

A record is written when a connection or a request that a fault touched is over, and for a connection also
when a toxic leaves it. Records are kept in a ring, whose oldest fall out and are counted, and go to a file
as JSON lines at least once a second, from a thread, so that a slow disk holds up no connection. What
cannot be written is counted and said once; no fault waits for its evidence.

Who records: `chaos.proxy.connection` for bytes, `chaos.proxy.http` for requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import IO

RING_RECORDS = 20_000
"""As much as 10 s of 2,000 struck requests a second; about 1 KiB each."""
FLUSH_S = 0.5
_WAITING_LINES = 100_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Strike:
    """What one fault did to one connection or request.

    `delay_s` is the longest that it held any byte back, of a request all its pauses together; `bytes` is how
    many it held, changed or dropped; `first_s` and `last_s` (Unix seconds) are when it first and last did
    something, where that is known.
    """

    name: str
    type: str
    delay_s: float = 0.0
    bytes: int = 0
    note: str = ""
    first_s: float | None = None
    last_s: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One connection, or one request on it, that faults struck; times are Unix seconds."""

    seq: int
    at_s: float
    end_s: float
    proxy: str
    connection: int
    request: int | None
    method: str | None
    path: str | None
    status: int | None
    trace_id: str | None
    faults: tuple[Strike, ...]

    def as_json(self) -> dict[str, object]:
        """As the API and the file show it; a tenth of `asdict`'s time, which traffic has to wait for."""
        shown: dict[str, object] = {name: getattr(self, name) for name in _RECORD}
        shown["faults"] = [{name: getattr(strike, name) for name in _STRIKE} for strike in self.faults]
        return shown


_STRIKE, _RECORD = ([field.name for field in fields(kind)] for kind in (Strike, Record))


@dataclass(frozen=True, slots=True)
class Page:
    """Records in the order of their numbers; `dropped` of those asked for are no longer there."""

    records: tuple[Record, ...]
    dropped: int
    began_s: float
    """When this evidence began: another value means another process, whose numbers start anew."""


class Evidence:
    """The records of one server."""

    def __init__(
        self,
        file: IO[bytes] | None = None,
        *,
        now_s: Callable[[], float] = time.time,
        room: int = RING_RECORDS,
    ) -> None:
        self.now_s = now_s
        self.began_s = now_s()
        self.struck: Counter[tuple[str, str]] = Counter()
        """How many connections and requests each (proxy, type of fault) struck."""
        self.lines_lost = 0
        """Lines that the file did not take."""
        self._ring: deque[Record] = deque(maxlen=room)
        self._seq = 0
        self._connections = 0
        self._file = file
        self._before = b""
        """A line's end, when the file broke off in the middle of one."""
        self._waiting: list[Record] = []
        self._flushing: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    def next_connection(self) -> int:
        """A number for a connection, one for all proxies of this server; from 1."""
        self._connections += 1
        return self._connections

    def record(
        self,
        *,
        proxy: str,
        connection: int,
        at_s: float,
        faults: Sequence[Strike],
        end_s: float | None = None,
        request: int | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        """Keep what happened, unless no fault struck. `request` counts from 1 on its connection."""
        if not faults:
            return
        self._seq += 1
        end_s = self.now_s() if end_s is None else end_s
        record = Record(
            self._seq, at_s, end_s, proxy, connection, request, method, path, status, trace_id, tuple(faults)
        )
        self._ring.append(record)
        for kind in {strike.type for strike in record.faults}:
            self.struck[proxy, kind] += 1
        if self._file is not None:
            self._enqueue(record)

    def after(self, seq: int, limit: int) -> Page:
        """At most `limit` records numbered above `seq`, oldest first."""
        oldest = self._seq - len(self._ring) + 1
        start = max(seq + 1, oldest)
        skip = start - oldest
        count = min(limit, max(0, len(self._ring) - skip))
        records = tuple(self._ring[index] for index in range(skip, skip + count))
        return Page(records, max(0, oldest - max(0, seq) - 1), self.began_s)

    async def close(self) -> None:
        """Write what is waiting and close the file."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        if self._writing is not None:
            await self._writing
        if self._file is not None:
            self._write(self._take())
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _enqueue(self, record: Record) -> None:
        if len(self._waiting) >= _WAITING_LINES:
            self._lose(1, "the disk is slower than the faults")
            return
        self._waiting.append(record)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        """One task while lines wait: it gathers for half a second, then writes in a thread."""
        try:
            while self._waiting:
                await asyncio.sleep(FLUSH_S)
                self._writing = asyncio.create_task(asyncio.to_thread(self._write, self._take()))
                await asyncio.shield(self._writing)  # `close` waits for it: two writers would mix lines
        finally:
            self._flushing = None

    def _take(self) -> list[Record]:
        taken, self._waiting = self._waiting, []
        return taken

    def _write(self, records: list[Record]) -> None:
        if self._file is None or not records:
            return
        data = self._before + b"".join(line_of(record.as_json()) for record in records)
        written = 0
        try:
            while written < len(data):  # a disk that is almost full takes a part
                written += self._file.write(data[written:])
            self._file.flush()
        except (OSError, ValueError) as error:
            self._lose(min(len(records), data.count(b"\n", written)), str(error))
        if written:
            self._before = b"" if data[:written].endswith(b"\n") else b"\n"

    def _lose(self, lines: int, why: str) -> None:
        if not self.lines_lost:
            _log.error("evidence is not written to its file any more (%s); GET /evidence still has it", why)
        self.lines_lost += lines


def line_of(record: Mapping[str, object]) -> bytes:
    """A record as a line of the file."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
