"""The Prometheus text: what a scraper will parse, and that no caller can make it grow."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from rag_service.telemetry.metrics import BreakerReading, Metrics, Reading, Words, breaker_readings


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_what_is_counted_is_what_a_scraper_reads():
    """Names, labels and values survive the text format."""
    metrics = Metrics()
    for _ in range(3):
        metrics.answered("full", "full")
    metrics.degraded("retrieve", "timeout")
    metrics.watch(lambda: breaker_readings([BreakerReading("llm", "half_open")]))
    found = samples(metrics)
    assert found["rag_answers_total", frozenset({("outcome", "full"), ("rung", "full")})] == 3.0
    assert found["rag_degraded_total", frozenset({("segment", "retrieve"), ("reason", "timeout")})] == 1.0
    states = {
        dict(labels)["state"]: value for (name, labels), value in found.items() if name == "rag_breaker_state"
    }
    assert states == {"closed": 0.0, "open": 0.0, "half_open": 1.0}


def test_two_apps_in_one_process_do_not_share_figures():
    """Each has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.answered("full", "full")
    assert not [name for name, _ in samples(other) if name == "rag_answers_total"]


def test_gauges_are_read_when_they_are_scraped():
    """Not when they are registered."""
    metrics = Metrics()
    value = [1.0]
    metrics.watch(lambda: [Reading("rag_in_flight", "Answers being made.", (), value[0])])
    value[0] = 7.0
    assert samples(metrics)["rag_in_flight", frozenset()] == 7.0


def test_the_words_of_a_label_are_bounded():
    """A thousand different reasons make 64 series and one for the rest."""
    words = Words()
    assert len({words(f"reason_{n}") for n in range(1000)}) == 65
    metrics = Metrics()
    for n in range(1000):
        metrics.segment_failed("search", f"reason_{n}")
    errors = [labels for name, labels in samples(metrics) if name == "rag_segment_errors_total"]
    assert len(errors) == 65
