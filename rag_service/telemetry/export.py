"""Makes the loss of spans visible: how many ended, were handed over, failed to be, or fell off the queue.

The SDK drops the oldest spans of a full queue behind one warning, and a verdict from the rest would be wrong
in silence. Four counts say whether that happened: ended = exported + failed + dropped + still queued.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

_log = logging.getLogger("rag_service.telemetry")


@dataclass(frozen=True, slots=True)
class SpanCounts:
    """Where the spans of this process went so far."""

    ended: int
    exported: int
    failed: int
    dropped: int

    @property
    def lost(self) -> int:
        return self.failed + self.dropped


class CountingExporter(SpanExporter):
    """Counts what the exporter behind it took. Called by one thread at a time."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
                _log.warning("%d spans could not be exported; %d so far", len(spans), self.failed)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class CountedSpans(BatchSpanProcessor):
    """The SDK's batches, with its losses counted. Spans end on the event loop's thread."""

    def __init__(self, exporter: SpanExporter, *, max_queue: int, max_batch: int, delay_ms: float) -> None:
        self._counting = CountingExporter(exporter)
        super().__init__(
            self._counting,
            max_queue_size=max_queue,
            schedule_delay_millis=delay_ms,
            max_export_batch_size=max_batch,
        )
        self._max_queue = max_queue
        self._ended = 0
        self._dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        self._ended += 1
        # The SDK looks at the same length just after this and then drops its oldest span (a test holds that).
        if len(self._batch_processor._queue) >= self._max_queue:
            self._dropped += 1
        super().on_end(span)

    def counts(self) -> SpanCounts:
        return SpanCounts(self._ended, self._counting.exported, self._counting.failed, self._dropped)
