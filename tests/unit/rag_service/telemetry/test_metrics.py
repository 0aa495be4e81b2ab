"""The Prometheus text: what a scraper will parse."""

from __future__ import annotations

import re

from rag_service.telemetry.metrics import BreakerReading, Metrics

_LINE = re.compile(r'[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? \d+')


def test_every_line_is_a_sample_or_a_comment():
    """Names, labels and integers, one state of each breaker set."""
    metrics = Metrics()
    metrics.answers["full"] += 3
    metrics.degraded["retrieve", "timeout"] += 1
    text = metrics.render(in_flight=2, breakers=[BreakerReading("llm", "half_open")])
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(_LINE.fullmatch(line) for line in samples)
    assert 'rag_answers_total{outcome="full"} 3' in samples
    assert 'rag_degraded_total{segment="retrieve",reason="timeout"} 1' in samples
    assert [line[-1] for line in samples if line.startswith("rag_breaker_state")] == ["0", "0", "1"]
