"""What has a state anyway, as gauges for `/metrics`: read at a scrape, free for an answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rag_service.api.admission import Admission
from rag_service.api.drain import Drain
from rag_service.resilience.breaker import Breaker
from rag_service.resilience.policy import Guard
from rag_service.segments.batching import MicroBatcher
from rag_service.segments.cache import AnswerCache
from rag_service.telemetry.lag import LoopLag
from rag_service.telemetry.metrics import BreakerReading, Reading, breaker_readings
from rag_service.telemetry.tracing import Telemetry


def of_guards(breakers: Sequence[Breaker], guards: Sequence[Guard]) -> Iterator[Reading]:
    """Breakers, limiters and budgets; the lists may still grow while the app is built."""
    yield from breaker_readings(BreakerReading(breaker.name, breaker.state) for breaker in breakers)
    for guard in guards:
        protection = guard.protection
        if protection is None:
            continue
        labels = (("name", guard.name),)
        bulkhead = protection.bulkhead
        yield Reading("rag_limiter_limit", "Calls allowed in flight.", labels, float(bulkhead.limit))
        yield Reading("rag_limiter_in_flight", "Calls in flight.", labels, float(bulkhead.taken))
        left = float(protection.budget.remaining)
        yield Reading("rag_retry_budget", "Retries that may be made now.", labels, left)


def of_admission(admission: Admission, drain: Drain) -> Iterator[Reading]:
    yield Reading("rag_in_flight", "Answers being made.", (), float(admission.in_flight))
    yield Reading("rag_admission_queue", "Requests waiting to be admitted.", (), float(admission.queued))
    if admission.limit is not None:
        yield Reading("rag_admission_limit", "Answers allowed at a time.", (), float(admission.limit))
    yield Reading("rag_draining", "1 while the service is about to stop.", (), float(drain.draining))


def of_embedder(batcher: MicroBatcher) -> Iterator[Reading]:
    yield Reading("rag_embed_queue", "Questions waiting for the embedder.", (), float(batcher.queued))


def of_cache(cache: AnswerCache) -> Iterator[Reading]:
    kept = cache.occupancy
    yield Reading("rag_cache_entries", "Answers kept.", (), float(kept.entries))
    yield Reading("rag_cache_bytes", "Memory for the answers kept.", (), float(kept.size_bytes))


def of_loop(lag: LoopLag) -> Iterator[Reading]:
    yield Reading("rag_event_loop_last_lag_seconds", "The latest sample of the lag.", (), lag.last_s)


def of_telemetry(telemetry: Telemetry) -> Iterable[Reading]:
    counts = telemetry.span_counts()
    fates = {
        "ended": counts.ended,
        "exported": counts.exported,
        "failed": counts.failed,
        "dropped": counts.dropped,
    }
    text = "Spans since the start by what became of them; failed and dropped are lost."
    return [Reading("rag_telemetry_spans", text, (("fate", fate),), float(n)) for fate, n in fates.items()]
