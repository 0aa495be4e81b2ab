"""Lost spans are counted: on the queue, at the exporter, and never in silence."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag_service.telemetry.export import CountedSpans, SpanCounts
from rag_service.telemetry.tracing import EXPORT_TIMEOUT_S, SHUTDOWN_S, Exporters, Telemetry


class Blocked(SpanExporter):
    """Takes nothing until it is let go; then everything."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.started.set()
        self.go.wait(10.0)
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.go.set()


class Refusing(SpanExporter):
    """A receiver that is down."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.FAILURE


class Raising(SpanExporter):
    """An exporter with a bug."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        raise ValueError("cannot encode")


def counted(
    exporter: SpanExporter, *, queue: int = 100, batch: int = 10
) -> tuple[CountedSpans, TracerProvider]:
    spans = CountedSpans(exporter, max_queue=queue, max_batch=batch, delay_ms=60_000.0)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(spans)
    return spans, provider


def end(provider: TracerProvider, count: int) -> None:
    tracer = provider.get_tracer("test")
    for n in range(count):
        tracer.start_span(f"span {n}").end()


def test_what_ends_is_exported():
    """Nothing is lost in a healthy process."""
    spans, provider = counted(InMemorySpanExporter())
    end(provider, 7)
    assert spans.force_flush()
    assert spans.counts() == SpanCounts(ended=7, exported=7, failed=0, dropped=0)
    assert spans.counts().lost == 0


def test_a_full_queue_is_counted_exactly():
    """The count is what the receiver misses: the SDK drops the oldest, and nothing else."""
    receiver = Blocked()
    spans, provider = counted(receiver, queue=20, batch=10)
    end(provider, 10)  # a whole batch leaves the queue and waits at the receiver
    assert receiver.started.wait(5.0)
    end(provider, 50)
    assert spans.counts().dropped == 30
    receiver.go.set()
    spans.force_flush()
    counts = spans.counts()
    assert counts == SpanCounts(ended=60, exported=30, failed=0, dropped=30)
    assert len(receiver.spans) == 30
    assert counts.ended == counts.exported + counts.lost
    assert receiver.spans[-1].name == "span 49"


def test_a_receiver_that_is_down_is_counted():
    """Refused or raised, the spans are gone."""
    for exporter in (Refusing(), Raising()):
        spans, provider = counted(exporter)
        end(provider, 5)
        spans.force_flush()
        assert spans.counts() == SpanCounts(ended=5, exported=0, failed=5, dropped=0)


def test_a_shutdown_that_comes_too_soon_says_what_is_lost(caplog):
    """A receiver that hangs: the process ends all the same, and the log has the number."""
    receiver = Blocked()
    telemetry = Telemetry(Exporters(receiver, None))
    for n in range(7):
        telemetry.tracer.start_span(f"span {n}").end()
    assert not telemetry.shutdown(limit_s=0.05)
    assert "7 of 7 spans are lost" in caplog.text
    receiver.go.set()


def test_a_shutdown_waits_for_an_export(caplog):
    """The control: nothing is lost, nothing is said; the service waits longer than one export may take."""
    receiver = InMemorySpanExporter()
    telemetry = Telemetry(Exporters(receiver, None))
    telemetry.tracer.start_span("span").end()
    assert telemetry.shutdown(limit_s=SHUTDOWN_S)
    assert caplog.text == ""
    assert len(receiver.get_finished_spans()) == 1
    assert SHUTDOWN_S > EXPORT_TIMEOUT_S


def test_the_flush_answer_and_the_metrics_say_it(run, make_service):
    """Both show ended = exported, and the barrier's number."""
    service = make_service()

    async def look():
        await service.ask()
        flushed = await service.send("POST", "/v1/telemetry/flush")
        return flushed.json(), (await service.send("GET", "/metrics")).text

    flushed, metrics = run(look())
    ended = len(service.finished())
    assert flushed == {
        "last_seq": 1,
        "flushed": True,
        "spans": {"ended": ended, "exported": ended, "failed": 0, "dropped": 0},
    }
    assert f'rag_telemetry_spans{{fate="exported"}} {float(ended)}' in metrics
    assert 'rag_telemetry_spans{fate="dropped"} 0.0' in metrics
