"""Rate, errors and duration of each segment, taken from the spans as they end.

Spans say it already, so counting beside them would be a second truth in every segment's code. A span
belongs to a segment by the first word of its name; a span of no segment is not counted.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from rag_service.telemetry import names
from rag_service.telemetry.metrics import Metrics

_SEGMENTS: Final = {
    "POST": "request",
    "embeddings": "embed",
    "retrieval": "retrieve",
    "search": "search",
    "context": "context",
    "chat": "generate",
}
_BREAKER: Final = "breaker"


class SegmentMetrics(SpanProcessor):
    """Feeds the registry of an app. Runs in the thread that ends the span, so it only counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seconds = {word: metrics.segment_seconds.labels(segment) for word, segment in _SEGMENTS.items()}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Only ends count."""

    def on_end(self, span: ReadableSpan) -> None:
        word = span.name.partition(" ")[0]
        attributes = span.attributes or {}
        seconds = self._seconds.get(word)
        if seconds is None:
            if word == _BREAKER:
                outcome = attributes.get(names.BREAKER_OUTCOME, "")
                self._metrics.breaker_called(str(attributes.get(names.POLICY_NAME, "")), str(outcome))
            return
        if span.end_time is not None and span.start_time is not None:
            seconds.observe((span.end_time - span.start_time) / 1e9)
        segment = _SEGMENTS[word]
        if (reason := attributes.get(names.ERROR_TYPE)) is not None:
            self._metrics.segment_failed(segment, str(reason))
        attempt = attributes.get(names.ATTEMPT, 1)
        if isinstance(attempt, int) and attempt > 1:
            self._metrics.retried(segment)
        first_chunk_s = attributes.get(names.RESPONSE_FIRST_CHUNK)
        if isinstance(first_chunk_s, float):
            self._metrics.first_chunk_seconds.observe(first_chunk_s)

    def shutdown(self) -> None:
        """Nothing is kept."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True
