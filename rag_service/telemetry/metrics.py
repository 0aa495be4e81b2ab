"""Prometheus figures for whoever watches the process without a trace store.

Spans are the evidence; these are the pulse. Each app has a registry of its own, so that two apps in one
process (as in tests) do not share figures. What changes with each answer is counted as it happens; what has a
state anyway (breakers, admission, limiters, queues) is read when it is scraped and costs an answer nothing.
Labels are words from the code, never from a caller: outcome, rung, segment, reason, state. A reason comes
from an exception, so the number of different ones is bounded here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: From a lexical search (1 ms) to the longest answer; the limits of segments (0.1, 0.3, 2, 10 s) are edges.
DURATIONS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0,
)  # fmt: skip
LAGS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_MOST_WORDS: Final = 64
_STATES: Final = ("closed", "open", "half_open")

#: Without it each counter has one more series, which nobody asked for.
disable_created_metrics()  # type: ignore[no-untyped-call]

StreamEnding = Literal["done", "error", "hung_up"]


class Words:
    """At most 64 different words for one label; whatever comes after them is `other`."""

    def __init__(self, most: int = _MOST_WORDS) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, word: str) -> str:
        if word in self._known:
            return word
        if len(self._known) < self._most:
            self._known.add(word)
            return word
        return "other"


@dataclass(frozen=True, slots=True)
class Reading:
    """One gauge at the moment of scraping."""

    name: str
    help: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True)
class BreakerReading:
    """One breaker at the moment of scraping."""

    name: str
    state: str


class Metrics:
    """The figures of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._reasons = Words()
        self._sources: list[Callable[[], Iterable[Reading]]] = []
        self._answers = self._counter(
            "rag_answers", "Requests that were answered, refused or failed.", ("outcome", "rung")
        )
        self._degraded = self._counter(
            "rag_degraded", "What answers had to do without.", ("segment", "reason")
        )
        self._streams = self._counter("rag_streams", "Streamed answers by how they ended.", ("ending",))
        self._rejected = self._counter(
            "rag_admission_rejected", "Requests that were not admitted.", ("criticality", "reason")
        )
        self._bad_requests = self._counter(
            "rag_bad_requests", "Requests that could not be served as they were.", ("status",)
        )
        self.segment_seconds = Histogram(
            "rag_segment_duration_seconds",
            "How long each segment took; its count is the segment's requests.",
            ("segment",),
            buckets=DURATIONS_S,
            registry=self.registry,
        )
        self._segment_errors = self._counter(
            "rag_segment_errors", "Segments that failed.", ("segment", "reason")
        )
        self.first_chunk_seconds = Histogram(
            "rag_first_chunk_seconds",
            "From the request to the first byte of its answer.",
            buckets=DURATIONS_S,
            registry=self.registry,
        )
        self._retries = self._counter("rag_retries", "Second and later attempts.", ("segment",))
        self._breaker_calls = self._counter(
            "rag_breaker_calls", "Calls by what their breaker made of them.", ("name", "outcome")
        )
        self._transitions = self._counter(
            "rag_breaker_transitions", "Changes of a breaker's state.", ("name", "state")
        )
        self.loop_lag_seconds = Histogram(
            "rag_event_loop_lag_seconds",
            "How late the event loop woke a sleeper.",
            buckets=LAGS_S,
            registry=self.registry,
        )
        self.registry.register(self)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def answered(self, outcome: str, rung: str) -> None:
        self._answers.labels(outcome, rung).inc()

    def degraded(self, segment: str, reason: str) -> None:
        self._degraded.labels(segment, self._reasons(reason)).inc()

    def stream_ended(self, ending: StreamEnding) -> None:
        self._streams.labels(ending).inc()

    def rejected(self, criticality: str, reason: str) -> None:
        self._rejected.labels(criticality, self._reasons(reason)).inc()

    def bad_request(self, status: int) -> None:
        self._bad_requests.labels(str(status)).inc()

    def segment_failed(self, segment: str, reason: str) -> None:
        self._segment_errors.labels(segment, self._reasons(reason)).inc()

    def retried(self, segment: str) -> None:
        self._retries.labels(segment).inc()

    def breaker_called(self, name: str, outcome: str) -> None:
        self._breaker_calls.labels(name, outcome).inc()

    def breaker_changed(self, name: str, state: str) -> None:
        self._transitions.labels(name, state).inc()

    def watch(self, source: Callable[[], Iterable[Reading]]) -> None:
        """Read `source` at each scrape."""
        self._sources.append(source)

    def collect(self) -> Iterator[Metric]:
        """prometheus-client's collector: what the sources say now, one family to a name."""
        families: dict[str, GaugeMetricFamily] = {}
        for source in self._sources:
            for reading in source():
                family = families.get(reading.name)
                if family is None:
                    label_names = [name for name, _ in reading.labels]
                    family = GaugeMetricFamily(reading.name, reading.help, labels=label_names)
                    families[reading.name] = family
                family.add_metric([value for _, value in reading.labels], reading.value)
        yield from families.values()

    def render(self) -> bytes:
        return generate_latest(self.registry)


def breaker_readings(breakers: Iterable[BreakerReading]) -> Iterator[Reading]:
    """1 for the state that a breaker is in, 0 for the others."""
    for breaker in breakers:
        for state in _STATES:
            yield Reading(
                "rag_breaker_state",
                "1 for the state that a breaker is in.",
                (("name", breaker.name), ("state", state)),
                float(breaker.state == state),
            )
