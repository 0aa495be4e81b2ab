"""Rules over traces: each holds in a healthy run and names what breaks it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from slo import assertions


def asserted(verdict, name):
    return next(one for one in verdict.assertions if one.name == name)


def test_an_unknown_assertion_suggests_a_known_one():
    """A typo is found before anything starts."""
    with pytest.raises(ValueError, match="did you mean breaker_opens"):
        assertions.parse({"breaker_open": {}})


def test_wrong_parameters_are_located_below_the_assertion():
    """An experiment can point at the line of the parameter."""
    with pytest.raises(ValidationError) as caught:
        assertions.parse({"breaker_opens": {"breaker": "vector_db", "within": "10"}})
    assert caught.value.errors()[0]["loc"] == ("breaker_opens", "within")
    with pytest.raises(ValidationError):
        assertions.parse({"no_calls_while_open": {"breaker": "vector_db", "probes": 3}})


@pytest.mark.parametrize("raw", [{}, {"breaker_opens": {}, "breaker_closes": {}}])
def test_an_assertion_has_exactly_one_name(raw):
    """Two names in one mapping would hide one of them."""
    with pytest.raises(ValueError, match="one key"):
        assertions.parse(raw)


def test_an_assertion_without_parameters_may_be_left_empty():
    """`every_degraded_answer_says_so:` with nothing behind it is what people write."""
    assert assertions.parse({"every_degraded_answer_says_so": None}).name == "every_degraded_answer_says_so"


def test_one_call_while_open_is_found_and_named(healthy, judge):
    """A single leaked search among thousands fails the assertion, with its trace id."""
    leaked = next(one for one in healthy.segment("search") if 10 < one["at_s"] < 11)
    leaked["at_s"] = 39.5
    verdict = judge(healthy)
    found = asserted(verdict, "no_calls_while_open")
    assert found.verdict == "fail"
    assert found.exemplars == (leaked["trace_id"],)
    assert verdict.verdict == "fail"


def test_calls_in_flight_when_the_breaker_opens_are_no_leak(healthy, judge):
    """Whoever was past the breaker when it opened could not know."""
    call = next(one for one in healthy.segment("search") if 10 < one["at_s"] < 11)
    call["at_s"] = 37.01
    assert asserted(judge(healthy), "no_calls_while_open").verdict == "pass"


def test_calls_after_the_users_are_gone_are_no_leak(healthy, judge):
    """The runner's questions after the run go through a breaker whose closing then counts no more, too."""
    for log in healthy.logs:
        log["at_s"] += 48 if log["at_s"] > 65 else 0
    for call in healthy.segment("search"):
        call["at_s"] += 76 if call["at_s"] > 37.2 else 0
    assert asserted(judge(healthy), "no_calls_while_open").verdict == "pass"
    for call in healthy.segment("search"):
        call["at_s"] -= 8 if call["at_s"] > 113 else 0
    assert asserted(judge(healthy), "no_calls_while_open").verdict == "fail"


def test_more_probes_than_allowed_are_a_leak(healthy, judge):
    """A half-open breaker lets a few calls through, not all."""
    for call in [one for one in healthy.segment("search") if 10 < one["at_s"] < 10.5][:4]:
        call["at_s"] = 47.05
    found = asserted(judge(healthy), "no_calls_while_open")
    assert (found.verdict, found.facts["leaked"]) == ("fail", 2)


def test_a_breaker_that_opens_late_fails(healthy, judge):
    """The time counts from the fault's injection."""
    healthy.assertions = [{"breaker_opens": {"breaker": "vector_db", "within": "1s"}}]
    found = asserted(judge(healthy), "breaker_opens")
    assert found.verdict == "fail"
    assert found.facts["took_s"] == pytest.approx(2.0)


def test_a_breaker_that_never_opens_fails(healthy, judge):
    """No transition in the logs is no opening."""
    healthy.logs = []
    verdict = judge(healthy)
    assert asserted(verdict, "breaker_opens").verdict == "fail"
    assert asserted(verdict, "breaker_closes").verdict == "inconclusive"


def test_a_breaker_that_closes_and_opens_again_has_not_closed(healthy, judge):
    """Only a breaker that is closed at the end of the run counts."""
    facts = {
        "resilience.policy.name": "vector_db",
        "previous": "closed",
        "new": "open",
        "cause": "x",
        "seq": 99,
    }
    healthy.logs.append({"at_s": 80.0, "attributes": facts})
    found = asserted(judge(healthy), "breaker_closes")
    assert (found.verdict, found.facts["state"]) == ("fail", "open")


def test_an_answer_that_hides_its_loss_is_found(healthy, judge):
    """The trace lost its vector leg and the client was told `full`."""
    attempt = next(one for one in healthy.attempts if one["outcome"] == "degraded")
    attempt["outcome"] = "full"
    verdict = judge(healthy)
    found = asserted(verdict, "every_degraded_answer_says_so")
    assert (found.verdict, found.exemplars) == ("fail", (attempt["trace_id"],))
    honest = next(one for one in verdict.objectives if one.name == "honest" and one.phase == "fault")
    assert (honest.verdict, honest.exemplars) == ("fail", (attempt["trace_id"],))


@pytest.mark.parametrize("lost", ["retrieve", "generate", "documents"])
def test_every_kind_of_loss_counts(steady, judge, lost):
    """No retrieval, no model, or no documents: each is a lesser answer."""
    trace = steady.attempts[200]["trace_id"]
    if lost == "documents":
        span = next(one for one in steady.segment("request") if one["trace_id"] == trace)
        span["attributes"]["rag.context.document.count"] = 0
    else:
        steady.spans = [one for one in steady.spans if (one["trace_id"], one["segment"]) != (trace, lost)]
    steady.assertions = [{"every_degraded_answer_says_so": {}}]
    assert asserted(judge(steady), "every_degraded_answer_says_so").exemplars == (trace,)


@pytest.mark.parametrize(("asked", "degraded"), [(True, 1), (False, 0)])
def test_a_kept_answer_says_what_it_stands_in_for(steady, judge, asked, degraded):
    """`cached` is a declared lesser answer; one given before anything was asked has lost nothing."""
    attempt = steady.attempts[200]
    attempt["outcome"] = "cached"
    span = next(one for one in steady.segment("request") if one["trace_id"] == attempt["trace_id"])
    span["attributes"]["rag.outcome"] = "cached"
    gone = ("generate",) if asked else ("retrieve", "search", "context", "generate")
    steady.spans = [
        one for one in steady.spans if one["trace_id"] != attempt["trace_id"] or one["segment"] not in gone
    ]
    steady.assertions = [{"every_degraded_answer_says_so": {}}]
    found = asserted(judge(steady), "every_degraded_answer_says_so")
    assert (found.verdict, found.facts["degraded"]) == ("pass", degraded)


def test_nothing_lost_is_no_proof_where_a_fault_was_planned(steady, healthy, judge):
    """In a steady run the rule holds; under a fault that cost no answer anything it was not tested."""
    steady.assertions = [{"every_degraded_answer_says_so": {}}]
    assert judge(steady).verdict == "pass"
    steady.journal = healthy.journal
    assert asserted(judge(steady), "every_degraded_answer_says_so").verdict == "inconclusive"
