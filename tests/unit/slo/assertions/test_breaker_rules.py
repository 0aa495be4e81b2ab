"""Rules about circuit breakers: a leak is found wherever it hides, and an idle breaker proves nothing."""

from __future__ import annotations

import pytest

from slo.assertions import problems_of


def test_one_leak_in_ten_thousand_traces_is_found_and_named(story, assess):
    """A single search while the breaker is open fails the rule; the tree of its trace marks the span."""
    story.breaker((40.0, "closed", "open"), (60.0, "open", "half_open"), (60.1, "half_open", "closed"))
    for number in range(10_000):
        at_s = number / 100
        request = story.request(number, at_s, 0.02)
        story.attempt(number, at_s, 0.02)
        if not 40.0 <= at_s < 60.0:
            story.search(number, at_s + 0.001, parent=request)
    clean = assess(story, "no_calls_while_open", breaker="vector_db", allow_probes=3)
    assert clean.verdict == "pass"
    leak = story.search(5432, 54.325, parent=story.run.spans[0]["span_id"])
    found = assess(story, "no_calls_while_open", breaker="vector_db", allow_probes=3)
    assert (found.verdict, found.exemplars, found.facts["leaked"]) == ("fail", (story.trace(5432),), 1)
    assert found.trace is not None
    assert (found.trace.id, found.trace.phase) == (story.trace(5432), "fault")
    (marked,) = [span for span in found.trace.spans if span.broke]
    assert marked.name == "search corpus"
    assert leak


def test_an_open_breaker_that_nobody_asks_proves_nothing(story, assess):
    """No call while it was open, because nobody came, is no pass."""
    story.breaker((40.0, "closed", "open"), (60.0, "open", "half_open"), (60.1, "half_open", "closed"))
    story.search(1, 10.0)
    story.attempt(1, 10.0)
    found = assess(story, "no_calls_while_open", breaker="vector_db")
    assert (found.verdict, found.exemplars) == ("inconclusive", ())


HALF_OPEN = ((40.0, "closed", "open"), (50.0, "open", "half_open"), (51.0, "half_open", "closed"))


def probe(story, number, at_s, took_s=0.3, outcome="success"):
    parent = story.guarded(number, at_s, took_s, "half_open", outcome)
    if outcome != "rejected":
        story.search(number, at_s, took_s, parent)


def test_more_probes_at_a_time_than_allowed_are_found(story, assess):
    """The fourth of four that are under way together is the one too many."""
    story.breaker(*HALF_OPEN)
    for number in range(4):
        probe(story, number, 50.0 + number * 0.01)
    found = assess(story, "half_open_probes_at_most", breaker="vector_db", probes=3)
    assert (found.verdict, found.exemplars, found.facts["most_at_a_time"]) == ("fail", (story.trace(3),), 4)
    assert [span.name for span in found.trace.spans if span.broke] == ["breaker vector_db"]


def test_probes_one_after_another_are_no_crowd(story, assess):
    """Ten in a row are ten times one; who was turned away meanwhile shows that the limit was met."""
    story.breaker(*HALF_OPEN)
    for number in range(10):
        probe(story, number, 50.0 + number * 0.05, 0.05)
    probe(story, 11, 50.2, 0.0, "rejected")
    found = assess(story, "half_open_probes_at_most", breaker="vector_db", probes=1)
    assert (found.verdict, found.facts["most_at_a_time"]) == ("pass", 1)


def test_the_first_probe_is_counted_though_its_span_begins_before_the_log_record(story, assess):
    """It is the probe that makes the breaker half open."""
    story.breaker(*HALF_OPEN)
    probe(story, 1, 49.998)
    probe(story, 2, 50.001)
    assert assess(story, "half_open_probes_at_most", breaker="vector_db", probes=1).verdict == "fail"


def test_probes_that_nobody_wanted_more_of_prove_nothing(story, assess):
    """Where fewer came than may, the limit was never met."""
    story.breaker(*HALF_OPEN)
    probe(story, 1, 50.0)
    assert assess(story, "half_open_probes_at_most", breaker="vector_db", probes=3).verdict == "inconclusive"
    assert assess(story, "half_open_probes_at_most", breaker="vector_db", probes=1).verdict == "pass"


def test_a_breaker_that_was_never_half_open_proves_nothing(story, assess):
    """No half-open state, no probes, no pass."""
    story.search(1, 10.0)
    assert assess(story, "half_open_probes_at_most", breaker="vector_db", probes=3).verdict == "inconclusive"


def test_a_call_around_the_breaker_counts_as_a_probe(story, assess):
    """What has no span of a guarded call above it was let through by nobody."""
    story.breaker(*HALF_OPEN)
    probe(story, 1, 50.0)
    story.search(2, 50.1, 0.1)
    found = assess(story, "half_open_probes_at_most", breaker="vector_db", probes=1)
    assert (found.verdict, found.exemplars) == ("fail", (story.trace(2),))


def test_a_probe_that_hangs_into_the_next_half_open_state_is_not_one_of_its_own(story, assess):
    """Each half-open state has its own probes."""
    story.breaker(
        *HALF_OPEN[:2],
        (50.5, "half_open", "open"),
        (55.0, "open", "half_open"),
        (56.0, "half_open", "closed"),
    )
    probe(story, 1, 50.0, 8.0)
    probe(story, 2, 55.0)
    assert assess(story, "half_open_probes_at_most", breaker="vector_db", probes=1).verdict == "pass"


def test_an_opening_that_fails_shows_the_calls_that_it_should_have_stopped(healthy, assess):
    """A breaker that stays closed leaves failing calls behind; they are the counter-examples."""
    healthy.logs.clear()
    late = [span for span in healthy.segment("search") if 36.0 < span["at_s"] < 36.2]
    found = assess(type("Story", (), {"run": healthy}), "breaker_opens", breaker="vector_db", within="1s")
    assert found.verdict == "fail"
    assert found.exemplars[0] == late[0]["trace_id"]
    assert len(found.exemplars) == 5


RULES = {
    "breaker_opens": {"within": "1s"},
    "breaker_closes": {"within": "1s", "after": "fault"},
    "no_calls_while_open": {},
    "half_open_probes_at_most": {"probes": 3},
}


@pytest.mark.parametrize("name", RULES)
def test_an_unknown_breaker_is_refused_before_the_run(name):
    """A misspelt breaker would never have opened."""
    problems = dict(problems_of({name: RULES[name] | {"breaker": "vectordb"}}, ["fault"], ["vector_db"]))
    assert list(problems) == [(name, "breaker")]
    assert "did you mean vector_db?" in problems[name, "breaker"]


def seen_by(assess, run, name, **parameters):
    return assess(type("Story", (), {"run": run}), name, breaker="vector_db", **parameters)


def test_a_breaker_that_was_open_before_the_fault_was_not_opened_by_it(healthy, assess):
    """The spike may have opened it; that it opens again under the fault is what it can still show."""
    healthy.logs[0]["at_s"] = 20.0
    reopened = seen_by(assess, healthy, "breaker_opens", within="10s")
    assert (reopened.verdict, reopened.facts["opened_s"]) == ("pass", pytest.approx(42.35))
    late = seen_by(assess, healthy, "breaker_opens", within="5s")
    assert late.verdict == "inconclusive" and "open already" in late.message
    healthy.logs = healthy.logs[:1]
    assert seen_by(assess, healthy, "breaker_opens", within="10s").verdict == "inconclusive"


def test_a_fault_acts_before_the_journal_says_that_it_is_in(healthy, assess):
    """One that opens between the undo that is declared and the fault that is read back was opened by it."""
    healthy.logs[0]["at_s"] = 34.9
    healthy.logs = healthy.logs[:1]
    assert seen_by(assess, healthy, "breaker_opens", within="10s").verdict == "inconclusive"
    declared = {
        "at_s": healthy.event("fault.injected")["at_s"] - 0.5,
        "event": "undo.declared",
        "fault": "slow",
    }
    healthy.journal.insert(3, declared)
    assert seen_by(assess, healthy, "breaker_opens", within="10s").verdict == "pass"


def test_a_breaker_that_was_open_only_before_the_fault_has_closed_nothing(healthy, assess):
    """It opened and closed at the baseline, and slept through the fault."""
    healthy.logs = [healthy.logs[0], *healthy.logs[-2:]]
    for log, at_s in zip(healthy.logs, (10.0, 14.9, 15.0), strict=True):
        log["at_s"] = at_s
    found = seen_by(assess, healthy, "breaker_closes", within="30s", after="fault")
    assert found.verdict == "inconclusive" and "only before" in found.message


def test_a_breaker_that_turns_callers_away_has_not_closed(story, assess):
    """Its last log record was lost, its spans were not."""
    story.breaker((40.0, "closed", "open"), (66.0, "open", "half_open"), (66.1, "half_open", "closed"))
    wanted = {"breaker": "vector_db", "within": "20s", "after": "fault"}
    story.guarded(1, 65.9, 0.001, "open", "rejected")
    assert assess(story, "breaker_closes", **wanted).verdict == "pass"
    story.guarded(2, 90.0, 0.001, "open", "rejected")
    assert assess(story, "breaker_closes", **wanted).verdict == "inconclusive"
