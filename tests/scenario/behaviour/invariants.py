"""What holds in every scenario, whatever the fault: the invariants of the behaviour list, from evidence.

Each is a function of its own, so that a scenario can show which one an arm without the mechanism breaks.
Times are allowed what this machine adds by itself: nothing. A test that needs more says so where it does.
"""

from __future__ import annotations

from rag_service.settings import Settings
from tests.scenario.behaviour.evidence import Attempt, Evidence, overlap
from tests.scenario.behaviour.lab import FREE_WITHIN_S

REJECT_S = 0.050
REFUSAL_SEEN_S = 0.150
"""What a client sees of a refusal: the wait at the door (30 ms), a connection of its own, its own loop."""
OUTLIVE_S = 0.100


def assert_invariants(evidence: Evidence) -> None:
    """All of them."""
    every_attempt_is_traced(evidence)
    attempts_stay_within_the_budget(evidence)
    rejects_are_fast(evidence)
    no_span_outlives_its_deadline(evidence)
    every_stream_has_exactly_one_terminal_event(evidence)
    probes_are_bounded(evidence)
    the_models_slots_are_free_again(evidence)
    every_degraded_answer_says_so(evidence)


def every_attempt_is_traced(evidence: Evidence) -> None:
    """Whoever was answered, however, has a request span: else the other invariants look at nothing."""
    assert evidence.attempts
    for attempt in evidence.attempts:
        if attempt.status is not None:
            assert evidence.request_span(attempt) is not None, f"attempt {attempt.number} has no span"


def attempts_stay_within_the_budget(evidence: Evidence) -> None:
    """Downstream attempts ≤ calls + budget, and no single call makes more than its attempts."""
    settings = evidence.settings
    for word, name, most in (
        ("search", "vector_db", settings.search.attempts),
        ("chat", "llm", settings.generate.attempts),
    ):
        spans = [span for span in evidence.named(word) if span.get("rag.hedge") != "true"]
        retries = sum(span["rag.attempt"] != "1" for span in spans)
        guarded = [s for s in evidence.named("breaker") if s["resilience.policy.name"] == name]
        earned = settings.retry.budget_ratio * (len(guarded) - retries)  # rejected calls earn their share too
        allowed = max(settings.retry.budget_minimum, earned) * _windows(evidence, settings)
        assert retries <= allowed, f"{retries} retries of {word} in {len(guarded)} calls"
        assert all(int(span["rag.attempt"]) <= most for span in spans)


def _windows(evidence: Evidence, settings: Settings) -> int:
    """The budget is one for each of its windows, of which a long arm has several."""
    times = [attempt.started_s for attempt in evidence.attempts]
    return 1 + int((max(times) - min(times)) / settings.retry.budget_window_s) if times else 1


def rejects_are_fast(evidence: Evidence) -> None:
    """An open breaker and a refused request cost next to nothing: p99 within 50 ms, as traced.

    Of fewer than 100, one may be slower: that one would be the p99, and it may be the machine's. What is not
    traced (the way to the service and back) the clients see: p95 of refusals within 150 ms.
    """
    rejected = [span.took_s for span in evidence.named("breaker") if _outcome(span) == "rejected"]
    refused = [span.took_s for span in evidence.named("POST") if span["rag.outcome"] == "refused"]
    for what, times in (("breaker rejects", rejected), ("refusals", refused)):
        if times:
            slow = sum(took_s > REJECT_S for took_s in times)
            assert slow <= max(1, len(times) // 100), f"{what}: {slow} of {len(times)} took over 50 ms"
    seen = [attempt.took_s for attempt in evidence.attempts if attempt.outcome == "refused"]
    slow = sum(took_s > REFUSAL_SEEN_S for took_s in seen)
    assert slow <= max(1, len(seen) // 20), f"refusals: {slow} of {len(seen)} clients saw over 150 ms"


def no_span_outlives_its_deadline(evidence: Evidence) -> None:
    """Each span ends at most 100 ms after its request's patience was over."""
    by_trace = {attempt.trace_id: attempt for attempt in evidence.attempts}
    for request in evidence.named("POST"):
        attempt = by_trace.get(request.trace_id)
        if attempt is None:
            continue
        latest = request.start_s + attempt.patience_s + OUTLIVE_S
        for span in evidence.by_trace[request.trace_id]:
            late_s = span.end_s - latest
            assert late_s <= 0, f"{span.name} of attempt {attempt.number} ends {late_s:.3f} s too late"


def every_stream_has_exactly_one_terminal_event(evidence: Evidence) -> None:
    """`done` or `error`, once, at the end, in every stream whose reader stayed."""
    for attempt in evidence.attempts:
        if attempt.stream and attempt.status == 200 and attempt.ending != "hung_up":
            names = [event.name for event in attempt.events]
            terminal = [name for name in names if name in ("done", "error")]
            assert len(terminal) == 1 and names[-1] == terminal[0] and names[0] == "meta", (attempt, names)


def probes_are_bounded(evidence: Evidence) -> None:
    """While a breaker is half open, no more calls are under way than it allows."""
    probes = evidence.settings.breaker.probes
    for name in ("vector_db", "llm"):
        spans = [
            span
            for span in evidence.named("breaker")
            if span["resilience.policy.name"] == name
            and span.get("resilience.circuit_breaker.state") == "half_open"
            and _outcome(span) != "rejected"
        ]
        assert overlap(spans) <= probes, f"{overlap(spans)} probes of {name} at a time, {probes} allowed"


def the_models_slots_are_free_again(evidence: Evidence) -> None:
    """Within a second of the last caller's end, nothing runs or waits in the model server."""
    assert evidence.freed_after_s <= FREE_WITHIN_S, f"slots were still held after {evidence.freed_after_s} s"


def every_degraded_answer_says_so(evidence: Evidence) -> None:
    """Header, body and span agree; what the trace shows to be lost is named in the answer."""
    for attempt in evidence.attempts:
        span = evidence.request_span(attempt)
        if attempt.outcome is None or attempt.status is None or span is None:
            continue
        if attempt.status == 200 and attempt.outcome == "error":
            assert span["rag.outcome"] == "error"
            continue
        said = {attempt.outcome, attempt.headers["x-rag-outcome"], span["rag.outcome"]}
        assert len(said) == 1, (attempt.number, said)
        _says_what_was_lost(evidence, attempt)


def _says_what_was_lost(evidence: Evidence, attempt: Attempt) -> None:
    if attempt.status != 200:
        return
    spans = evidence.by_trace[attempt.trace_id]
    lost = {loss["segment"] for loss in attempt.degraded}
    assert (attempt.outcome == "full") == (not lost), (attempt.number, attempt.outcome, lost)
    retrieval = next((span for span in spans if span.name.startswith("retrieval")), None)
    if retrieval is not None and "vector" not in retrieval.attributes.get("rag.retrieval.legs", ""):
        assert lost & {"embed", "retrieve"}, f"attempt {attempt.number} lost its vector leg and is {lost}"
    chat = [span for span in spans if span.name.startswith("chat")]
    if not any(span.get("error.type") is None for span in chat):
        assert lost, f"attempt {attempt.number} has no word of the model and calls itself full"


def _outcome(span: object) -> str | None:
    attributes = getattr(span, "attributes", {})
    return attributes.get("resilience.circuit_breaker.outcome")
