"""Providers, exporters and the flush barrier.

The telemetry path itself breaks first in a spike: with the SDK's defaults (queue 2,048, delay 5 s) a burst
of 20,000 spans lost 51 % of them behind one warning, oldest first. Hence a queue of 65,536, batches of
2,048 every 500 ms, and every trace is sampled whatever the caller's flag says: a verdict needs all of
them. Segment spans are made by hand: FastAPI's and httpx's instrumentation would add spans (one per
streamed chunk, one named `POST`) that stand for no segment.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from rag_service.errors import RagError
from rag_service.telemetry import names
from rag_service.telemetry.export import CountedSpans, SpanCounts

_QUEUE = 65_536
_BATCH = 2_048
_DELAY_MS = 500.0
EXPORT_TIMEOUT_S = 3.0
#: Longer than one export may take, or the last batch would be given up while it is still sent.
SHUTDOWN_S = EXPORT_TIMEOUT_S + 1.0

_log = logging.getLogger("rag_service.telemetry")


@dataclass(frozen=True, slots=True)
class Exporters:
    """Where spans and log records go; None means nowhere."""

    spans: SpanExporter | None
    logs: LogRecordExporter | None

    @classmethod
    def from_environment(cls) -> Exporters:
        """OTLP over HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, else no export."""
        if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return cls(None, None)
        return cls(OTLPSpanExporter(timeout=EXPORT_TIMEOUT_S), OTLPLogExporter(timeout=EXPORT_TIMEOUT_S))


class Telemetry:
    """One process's tracer, its log of breaker transitions and the count of its request spans."""

    def __init__(self, exporters: Exporters, watchers: Sequence[SpanProcessor] = ()) -> None:
        self.instance_id = str(uuid.uuid4())
        resource = Resource.create(
            {"service.name": names.SERVICE_NAME, "service.instance.id": self.instance_id}
        )
        self._traces = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        for watcher in watchers:
            self._traces.add_span_processor(watcher)
        self._spans: CountedSpans | None = None
        if exporters.spans:
            self._spans = CountedSpans(
                exporters.spans, max_queue=_QUEUE, max_batch=_BATCH, delay_ms=_DELAY_MS
            )
            self._traces.add_span_processor(self._spans)
        if exporters.logs:
            self._logs.add_log_record_processor(
                BatchLogRecordProcessor(exporters.logs, schedule_delay_millis=_DELAY_MS)
            )
        self.tracer: Tracer = self._traces.get_tracer("rag_service")
        self._logger = self._logs.get_logger("rag_service.resilience")
        self._last_seq = 0

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def span_counts(self) -> SpanCounts:
        """What became of the spans so far; nothing is counted where nothing is exported."""
        return self._spans.counts() if self._spans else SpanCounts(0, 0, 0, 0)

    def end_request(self, span: Span) -> None:
        """Number a request span as it ends: after a flush all numbers up to `last_seq` are exported."""
        self._last_seq += 1
        span.set_attribute(names.SPAN_SEQ, self._last_seq)
        span.end()

    def breaker_changed(self, *, name: str, previous: str, new: str, seq: int, cause: str) -> None:
        """Log one transition; the record carries the trace in which it happened."""
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.WARN if new == "open" else SeverityNumber.INFO,
                severity_text="WARN" if new == "open" else "INFO",
                event_name=names.STATE_CHANGE_EVENT,
                body=names.STATE_CHANGE_EVENT,
                attributes={
                    names.POLICY_NAME: name,
                    "previous": previous,
                    "new": new,
                    "seq": seq,
                    "cause": cause,
                },
            )
        )

    def flush(self) -> bool:
        """Export what has ended so far. Blocks; call it from a thread."""
        return self._traces.force_flush() and self._logs.force_flush()

    def shutdown(self, limit_s: float) -> bool:
        """Flush and close within `limit_s`; False, and a warning, when not everything was taken in time."""

        def close() -> None:
            self._traces.shutdown()
            self._logs.shutdown()

        worker = threading.Thread(target=close, name="telemetry-shutdown", daemon=True)
        worker.start()
        worker.join(limit_s)
        if not worker.is_alive():
            return True
        counts = self.span_counts()
        lost = counts.ended - counts.exported
        message = "telemetry was not taken within %g s; %d of %d spans are lost"
        _log.warning(message, limit_s, lost, counts.ended)
        return False


def fail(span: Span, error: BaseException) -> None:
    """Mark a span as failed, with the same short word that the answer carries."""
    reason = error.reason if isinstance(error, RagError) else error_type(error)
    span.set_attribute(names.ERROR_TYPE, reason)
    span.set_status(Status(StatusCode.ERROR, str(error)[:200]))


def error_type(error: BaseException) -> str:
    return "cancelled" if type(error).__name__ == "CancelledError" else type(error).__name__


def trace_parent() -> dict[str, str]:
    """The W3C header that tells whom we call which span calls; nothing outside of a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}


@contextmanager
def segment(
    tracer: Tracer,
    name: str,
    attributes: Mapping[str, AttributeValue],
    kind: SpanKind = SpanKind.INTERNAL,
) -> Iterator[Span]:
    """A span around one segment; an exception (a cancellation too) marks it and passes on."""
    span = tracer.start_span(name, kind=kind, attributes=attributes)
    try:
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield span
    except BaseException as error:
        fail(span, error)
        raise
    finally:
        span.end()
