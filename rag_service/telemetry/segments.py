"""Rate, errors and duration of each segment, taken from the spans as they end.

Spans say it already, so counting beside them would be a second truth in every segment's code. A span
belongs to a segment by the first word of its name; a span of no segment is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from prometheus_client import Histogram

from rag_service.telemetry import names
from rag_service.telemetry.metrics import Metrics

_BREAKER: Final = "breaker"


@dataclass(frozen=True, slots=True)
class _Segment:
    """What is read from a segment's spans: each look at an attribute costs a microsecond."""

    name: str
    seconds: Histogram
    has_attempts: bool
    is_request: bool


_NAMES: Final = {
    "POST": "request",
    "embeddings": "embed",
    "retrieval": "retrieve",
    "search": "search",
    "context": "context",
    "chat": "generate",
}
_WITH_ATTEMPTS: Final = frozenset({"search", "chat"})


class SegmentMetrics(SpanProcessor):
    """Feeds an app's registry. Runs in the thread that ends the span, so it only counts: 3 us a span."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._segments = {
            word: _Segment(
                name, metrics.segment_seconds.labels(name), word in _WITH_ATTEMPTS, name == "request"
            )
            for word, name in _NAMES.items()
        }

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Only ends count."""

    def on_end(self, span: ReadableSpan) -> None:
        word = span.name.partition(" ")[0]
        segment = self._segments.get(word)
        if segment is not None:
            self._count(segment, span)
        elif word == _BREAKER:
            attributes = span.attributes or {}
            outcome = attributes.get(names.BREAKER_OUTCOME, "")
            self._metrics.breaker_called(str(attributes.get(names.POLICY_NAME, "")), str(outcome))

    def _count(self, segment: _Segment, span: ReadableSpan) -> None:
        attributes = span.attributes or {}
        if span.end_time is not None and span.start_time is not None:
            segment.seconds.observe((span.end_time - span.start_time) / 1e9)
        if (reason := attributes.get(names.ERROR_TYPE)) is not None:
            self._metrics.segment_failed(segment.name, str(reason))
        if segment.has_attempts and attributes.get(names.ATTEMPT, 1) != 1:
            self._metrics.retried(segment.name)
        if segment.is_request:
            first_chunk_s = attributes.get(names.RESPONSE_FIRST_CHUNK)
            if isinstance(first_chunk_s, float):
                self._metrics.first_chunk_seconds.observe(first_chunk_s)

    def shutdown(self) -> None:
        """Nothing is kept."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True
