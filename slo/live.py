"""Spans while they arrive: what a run needs to give up early, whatever its load generator believes.

A tap on the receiver (`Receiver(tap=…)`): a body is put aside in the receiver's thread, which costs nothing,
and understood in the thread of whoever drains it. What is put aside is bounded; beyond that the oldest go,
and are counted. No verdict comes from here: those are made from the bundle.

A span counts at the moment of its end, since only then it is known. Exporters are late, and another machine's
clock may be wrong, so the ends are moved onto this machine's clock: the shortest time between an end and
its arrival, among the bodies of the last half minute or so, is taken for the way.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from slo.otlp import SPANS, empty_rows, flatten_spans
from slo.segments import SegmentTable
from slo.segments.matching import SpanMatcher

MOST_BYTES = 32 * 1024 * 1024
"""Put aside and not yet drained: at 300 bytes a span, a hundred thousand spans."""
BODIES_REMEMBERED = 64
MOST_LAG_S = 6.0
"""OpenTelemetry's exporters send every 5 s unless told otherwise."""
OUTCOME = "rag.outcome"
DEGRADED = ("degraded", "cached")


@dataclass(frozen=True, slots=True)
class LiveSpan:
    """One span of a segment; `end_s` is Unix time by this machine's clock."""

    segment: str
    end_s: float
    duration_s: float
    failed: bool
    degraded: bool

    @property
    def judged_s(self) -> float:
        """The duration as statistics use it: what failed took for ever."""
        return math.inf if self.failed else self.duration_s


class LiveSpans:
    """The spans of some segments, from one drain to the next. `take` and `drain` may be in two threads."""

    def __init__(self, table: SegmentTable, segments: Collection[str], unix_s: Callable[[], float]) -> None:
        self._matchers = {name: SpanMatcher(table.segments[name]) for name in segments}
        self._unix_s = unix_s
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._ways_s: deque[float] = deque(maxlen=BODIES_REMEMBERED)
        self._waits_s: deque[float] = deque(maxlen=BODIES_REMEMBERED)
        self._heard_s = -math.inf
        self.missed = 0

    def take(self, body: bytes) -> None:
        """Put an export request aside; it was checked by the receiver. Without segments nothing is kept."""
        if not self._matchers:
            return
        with self._lock:
            self._waiting.append((self._unix_s(), body))
            self._waiting_bytes += len(body)
            while self._waiting_bytes > MOST_BYTES:
                self._waiting_bytes -= len(self._waiting.popleft()[1])
                self.missed += 1

    def drain(self) -> list[LiveSpan]:
        """The spans of the segments that came since the last time, in order of their arrival."""
        with self._lock:
            came, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        return [span for received_s, body in came for span in self._read(received_s, body)]

    def known_until(self, now_s: float) -> float:
        """Until when what has come tells all: what has ended since is still on its way, which is no silence.

        An exporter that sends every five seconds is not heard of in between. One that is silent for longer
        than any span had to wait lately has nothing to say.
        """
        lag_s = min(max(self._waits_s) - min(self._ways_s), MOST_LAG_S) if self._waits_s else 0.0
        return min(now_s, max(self._heard_s, now_s - lag_s))

    def _read(self, received_s: float, body: bytes) -> list[LiveSpan]:
        rows = empty_rows(SPANS)
        flatten_spans(body, rows)
        found, way_s, wait_s = [], math.inf, -math.inf
        columns = ("SpanName", "SpanKind", "SpanAttributes", "StatusCode", "Timestamp", "Duration")
        for name, kind, pairs, status, start_ns, duration_ns in zip(
            *(rows[column] for column in columns), strict=True
        ):
            end_s = (start_ns + duration_ns) / 1e9
            way_s, wait_s = min(way_s, received_s - end_s), max(wait_s, received_s - end_s)
            attributes = dict(pairs)
            for segment, matcher in self._matchers.items():
                if matcher.takes(name, kind, attributes):
                    failed = matcher.failed(status, attributes)
                    degraded = attributes.get(OUTCOME) in DEGRADED
                    found.append((segment, end_s, duration_ns / 1e9, failed, degraded))
        if math.isinf(way_s):
            return []  # an export of nothing
        self._ways_s.append(way_s)
        self._waits_s.append(wait_s)
        newest_s, way_s = received_s - way_s, min(self._ways_s)
        self._heard_s = max(self._heard_s, newest_s + way_s)
        return [
            LiveSpan(segment, end_s + way_s, duration_s, failed, degraded)
            for segment, end_s, duration_s, failed, degraded in found
        ]
