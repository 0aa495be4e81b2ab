"""The time window: running sums equal to counting anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag_service.resilience.window import TimeWindow


def test_reading_evicts_too(clock):
    """What is older than the span is gone at the next reading, without a new call."""
    window = TimeWindow(10.0, clock)
    window.record(failed=True, slow=False)
    assert window.rates().failure_ratio == 1.0
    clock.advance(10.1)
    assert window.rates().calls == 0


def test_an_empty_window_has_no_failures(clock):
    """No calls means ratios of 0, not a division by zero."""
    rates = TimeWindow(10.0, clock).rates()
    assert (rates.failure_ratio, rates.slow_ratio) == (0.0, 0.0)


@given(st.lists(st.tuples(st.floats(0.0, 4.0), st.booleans(), st.booleans()), max_size=60))
def test_sums_equal_a_recount(calls):
    """After any sequence, the sums are those of the calls within the span."""
    now = [0.0]
    window = TimeWindow(10.0, lambda: now[0])
    made = []
    for pause_s, failed, slow in calls:
        now[0] += pause_s
        window.record(failed=failed, slow=slow)
        made.append((now[0], failed, slow))
        recent = [call for call in made if call[0] >= now[0] - 10.0]
        rates = window.rates()
        expected = (len(recent), sum(call[1] for call in recent), sum(call[2] for call in recent))
        assert (rates.calls, rates.failures, rates.slow) == expected
