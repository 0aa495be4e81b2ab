"""Spans while they arrive: which are taken, when they count, and how much is kept of those nobody drained."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo import live
from slo.live import LiveSpans
from slo.segments import Segment, default_table
from slo.segments.matching import SpanMatcher
from tests.unit.slo.conftest import T0_S, span_body


class Now:
    at_s = T0_S

    def __call__(self) -> float:
        return self.at_s


def span(at_s: float, duration_s: float, **facts: object) -> dict[str, object]:
    return {
        "trace_id": f"{1:032x}",
        "span_id": f"{1:016x}",
        "name": "search corpus",
        "kind": "Client",
        "at_s": at_s,
        "duration_s": duration_s,
        "attributes": {"db.system.name": "faiss"},
        **facts,
    }


def taken(now: Now, *segments: str) -> LiveSpans:
    return LiveSpans(default_table(), segments, now)


def test_a_span_counts_when_it_ended() -> None:
    """Not when it began and not when it was sent, which may be seconds later."""
    now = Now()
    spans = taken(now, "search")
    for number in range(3):
        now.at_s = T0_S + number + 1.5
        spans.take(span_body([span(number, 1.0), span(number + 0.2, 1.0, failed=True)]))
    found = spans.drain()

    assert [round(one.end_s - T0_S, 3) for one in found] == [1.3, 1.5, 2.3, 2.5, 3.3, 3.5]
    assert [one.judged_s for one in found[:2]] == [1.0, math.inf]
    assert spans.drain() == []


@pytest.mark.parametrize("wrong_s", [-3600.0, 3600.0])
def test_another_machines_wrong_clock_moves_nothing(wrong_s: float) -> None:
    """The shortest way is taken for the way, so an hour's error is no hour."""
    now = Now()
    spans = taken(now, "search")
    for number in range(10):
        now.at_s = T0_S + number
        spans.take(span_body([span(number - 0.2 + wrong_s, 0.1)]))
    found = spans.drain()

    assert [one.end_s - T0_S for one in found] == pytest.approx(range(10), abs=0.15)


def test_one_span_from_the_future_does_not_blind_for_good() -> None:
    """Its way is forgotten after some dozens of bodies."""
    now = Now()
    spans = taken(now, "search")
    spans.take(span_body([span(3600.0, 0.1)]))
    for number in range(live.BODIES_REMEMBERED + 5):
        now.at_s = T0_S + number
        spans.take(span_body([span(number - 0.2, 0.1)]))

    assert spans.drain()[-1].end_s == pytest.approx(now.at_s, abs=0.15)


@pytest.mark.parametrize("every_s", [0.5, 5.0])
def test_what_is_on_its_way_is_no_silence(every_s: float) -> None:
    """Between two exports nothing is known yet; after a longer pause there is nothing to come."""
    now = Now()
    spans = taken(now, "search")
    assert spans.known_until(T0_S) == T0_S
    for number in range(1, 20):
        now.at_s = T0_S + number * every_s
        spans.take(span_body([span(number * every_s - age * every_s, 0.0) for age in (0.98, 0.5, 0.02)]))
        spans.drain()
        assert now.at_s - spans.known_until(now.at_s) == pytest.approx(0.0, abs=0.05)
        between_s = now.at_s + 0.9 * every_s
        assert between_s - spans.known_until(between_s) == pytest.approx(0.9 * every_s, abs=0.06)
    later_s = now.at_s + 30
    assert later_s - spans.known_until(later_s) <= min(every_s, live.MOST_LAG_S)


def test_an_export_of_nothing_says_nothing() -> None:
    """A body without spans moves no clock."""
    spans = taken(Now(), "search")
    spans.take(span_body([]))
    assert spans.drain() == [] and spans.known_until(T0_S) == T0_S


def test_only_the_segments_that_were_asked_for_come() -> None:
    """By name, kind and attributes, as the table says; failures by status or by attribute."""
    now = Now()
    spans = taken(now, "request", "search")
    answer = {"name": "POST /v1/answers", "kind": "Server"}
    spans.take(
        span_body(
            [
                span(0, 1, **answer, attributes={"rag.outcome": "refused"}),
                span(0, 1, **answer, attributes={"rag.outcome": "degraded"}),
                span(0, 1, **answer | {"kind": "Client"}, attributes={}),
                span(0, 1, name="search corpus", attributes={}),
                span(0, 1, name="research", attributes={"db.system.name": "faiss"}),
                span(0, 1),
            ]
        )
    )
    assert [(one.segment, one.failed, one.degraded) for one in spans.drain()] == [
        ("request", True, False),
        ("request", False, True),
        ("search", False, False),
    ]


def test_what_nobody_drains_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, and are counted; without segments nothing is put aside at all."""
    body = span_body([span(0, 1)])
    monkeypatch.setattr(live, "MOST_BYTES", 3 * len(body))
    spans, nobody = taken(Now(), "search"), taken(Now())
    for _ in range(5):
        spans.take(body)
        nobody.take(body)

    assert (len(spans.drain()), spans.missed) == (3, 2)
    assert nobody._waiting_bytes == 0


WORDS = st.sampled_from(["search corpus", "search", "se%rch", "a_b", "axb", "", "a\nb", "*", "chat m"])
PATTERNS = st.sampled_from(["search *", "*", "se%rch", "a_b", "a*b", "", "chat m", "*arch*"])


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(PATTERNS, max_size=2),
    wanted=st.dictionaries(st.sampled_from(["a", "b"]), st.lists(PATTERNS, min_size=1, max_size=2)),
    failed=st.dictionaries(st.sampled_from(["a", "b"]), st.lists(WORDS, min_size=1, max_size=2)),
    name=WORDS,
    attributes=st.dictionaries(st.sampled_from(["a", "b"]), WORDS),
    status=st.sampled_from(["Ok", "Error", "Unset"]),
)
def test_a_span_is_taken_as_sql_takes_it(
    names: list[str],
    wanted: dict[str, list[str]],
    failed: dict[str, list[str]],
    name: str,
    attributes: dict[str, str],
    status: str,
) -> None:
    """One table, two readers: what the run watches is what the verdict is about."""
    import duckdb

    segment = Segment.model_validate({"name": names, "attributes": wanted, "failed": failed})
    columns = (
        "? AS SpanName, 'Client' AS SpanKind, ?::MAP(VARCHAR, VARCHAR) AS SpanAttributes, ? AS StatusCode"
    )
    which, failure = segment.where(), segment.failure()
    found = duckdb.execute(
        f"WITH spans AS (SELECT {columns}) SELECT coalesce({which.sql}, FALSE), {failure.sql} FROM spans",
        [name, attributes, status, *which.parameters, *failure.parameters],
    ).fetchall()
    matcher = SpanMatcher(segment)

    assert found == [(matcher.takes(name, "Client", attributes), matcher.failed(status, attributes))]
