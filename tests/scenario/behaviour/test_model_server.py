"""The model server slow, silent, cut off, pushing back or lying about its end.

Before the first token another rung answers; after it, the stream ends in one `error` event and never starts
anew. The faults are the simulator's own, because a proxy cannot say 429 or abort an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.scenario.behaviour.client import Ask, at_once, steady
from tests.scenario.behaviour.evidence import Attempt, Evidence, quantile
from tests.scenario.behaviour.invariants import assert_invariants
from tests.scenario.behaviour.lab import FREE_WITHIN_S, Lab
from tests.scenario.behaviour.parts import ModelServer, Proxy

pytestmark = pytest.mark.slow
NOISE_S = 0.3


def _extractive(attempt: Attempt, *reasons: str) -> bool:
    """A whole answer from the documents alone that says why."""
    return (
        attempt.answered
        and attempt.outcome == "degraded"
        and {loss["fallback"] for loss in attempt.degraded} == {"extractive"}
        and attempt.reasons <= set(reasons)
    )


def _all_from_the_documents(evidence: Evidence, attempts: Sequence[Attempt], *reasons: str) -> None:
    """Every answer is one from the documents alone, for one of these reasons."""
    assert attempts
    told = evidence.told(attempts)
    assert all(_extractive(one, *reasons) for one in attempts), f"not all from the documents: {told}"


def _slow_first_token(lab: Lab, proxy: Proxy, model: ModelServer, **settings: object) -> Evidence:
    limits = {"generate__first_token_s": 0.6, "breaker__slow_first_token_s": 0.5}
    with (
        lab.service(proxy, **limits, **settings) as service,
        model.faults({"kind": "slow_first_token", "delay_s": 5.0}),
    ):
        service.ask(*steady(8, 2.0, patience_s=3.0))
    return service.evidence


def _stood_in_for(evidence: Evidence) -> None:
    """Within the first token's limit, from the documents; no header before the answer was decided."""
    _all_from_the_documents(evidence, evidence.attempts, "timeout", "circuit_open")
    limit_s = evidence.settings.generate.first_token_s
    assert max(one.took_s for one in evidence.attempts) <= limit_s + NOISE_S
    streams = [one for one in evidence.attempts if one.stream]
    assert streams
    for one in streams:
        assert one.events[0].name == "meta" and one.events[0].data["outcome"] == "degraded"
        assert one.first_token_s - (one.events[0].at_s - one.started_s) <= NOISE_S
    assert all(span["rag.attempt"] == "1" for span in evidence.named("chat")), "a timeout was retried"
    evidence.first_opening("llm")


def test_a_model_server_slow_to_its_first_token(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """The cap on the first token, then the documents' own words. Unprotected, callers wait in vain."""
    on = _slow_first_token(lab, builtin, model)
    _stood_in_for(on)
    assert_invariants(on)
    off = _slow_first_token(lab, builtin, model, resilience="off")
    with pytest.raises(AssertionError, match="not all from the documents"):
        _stood_in_for(off)


def _stalled(lab: Lab, proxy: Proxy, model: ModelServer, **settings: object) -> Evidence:
    with (
        lab.service(proxy, generate__token_gap_s=0.5, **settings) as service,
        model.faults({"kind": "stall", "after_tokens": 5, "ping_s": 0.1}),
    ):
        service.mark("first")
        service.ask(*at_once(8, patience_s=2.5))
        service.mark("second")
        service.ask(*steady(8, 0.5, patience_s=2.5))
    return service.evidence


def _ended_by_the_gap(evidence: Evidence) -> None:
    """One error event after the gap, although bytes kept coming; the slots free; later callers spared."""
    first = evidence.between("first", "second")
    gap_s = evidence.settings.generate.token_gap_s
    for one in first:
        last = one.terminal
        said = (last.name, last.data.get("code"), last.data.get("partial")) if last else one.ending
        assert said == ("error", "llm_stalled", True), f"told {said} of the stall"
        tokens = [event for event in one.events if event.name == "token"]
        assert len(tokens) == 5
        assert gap_s * 0.9 <= last.at_s - tokens[-1].at_s <= gap_s + NOISE_S
    _slots_free_after(evidence, max(one.ended_s for one in first))
    evidence.first_opening("llm")
    _all_from_the_documents(evidence, evidence.between("second"), "circuit_open")


def _slots_free_after(evidence: Evidence, at_s: float) -> None:
    later = [reading for reading in evidence.readings if reading.at_s >= at_s + FREE_WITHIN_S]
    earlier = [reading for reading in evidence.readings if at_s - 0.2 <= reading.at_s < at_s + FREE_WITHIN_S]
    assert any(reading.running == 0 for reading in earlier) or not later, "slots were held for over 1 s"


def test_an_answer_that_stalls(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """Tokens are timed, pings are not tokens. Unprotected, callers stare at half an answer."""
    on = _stalled(lab, builtin, model)
    _ended_by_the_gap(on)
    assert_invariants(on)
    off = _stalled(lab, builtin, model, resilience="off")
    with pytest.raises(AssertionError, match="of the stall"):
        _ended_by_the_gap(off)


def _broken(lab: Lab, proxy: Proxy, disturbance: Any, **settings: object) -> Evidence:
    """Eight answers end badly in their middle, then a few more callers come."""
    with lab.service(proxy, **settings) as service, disturbance:
        service.mark("first")
        service.ask(*at_once(8, patience_s=2.5))
        service.mark("second")
        service.ask(*steady(8, 0.5, patience_s=2.5))
    return service.evidence


def _ended_honestly(evidence: Evidence, code: str) -> None:
    """A partial answer and one error event that says what it was."""
    for one in evidence.between("first", "second"):
        last = one.terminal
        assert last is not None and last.name == "error", f"passed off as {one.outcome or one.ending}"
        assert (last.data["code"], last.data["partial"]) == (code, True), last.data
        assert len(one.text) > 0


def _spared_the_others(evidence: Evidence) -> None:
    """Eight bad endings are enough: the breaker opens, and later callers get the documents' own words."""
    evidence.first_opening("llm")
    _all_from_the_documents(evidence, evidence.between("second"), "circuit_open")


def _both_are_needed(on: Evidence, off: Evidence, believing: Evidence, code: str) -> None:
    """Without protection nobody is spared; a service that believes any end tells half answers for whole."""
    _ended_honestly(on, code)
    _spared_the_others(on)
    assert_invariants(on)
    _ended_honestly(off, code)
    with pytest.raises(AssertionError, match="llm never opened"):
        _spared_the_others(off)
    with pytest.raises(AssertionError, match="passed off as full"):
        _ended_honestly(believing, code)


def test_a_stream_that_the_network_cuts(lab: Lab, proxy: Proxy) -> None:
    """The connection ends in mid-answer: an error event, then no more calls for a while."""

    def cut() -> Any:
        return proxy.toxic("llm", "limit_data", bytes=3000)

    on = _broken(lab, proxy, cut())
    off = _broken(lab, proxy, cut(), resilience="off")
    believing = _broken(lab, proxy, cut(), sabotage="believe_any_end")
    _both_are_needed(on, off, believing, "llm_stream_cut")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("cut", "llm_stream_cut"),
        ("truncate", "llm_stream_cut"),
        ("malformed_chunk", "bad_response"),
        ("abort", "llm_aborted"),
    ],
)
def test_an_answer_that_ends_badly(
    lab: Lab, builtin: Proxy, model: ModelServer, kind: str, code: str
) -> None:
    """Killed, closed without an end, garbled, or aborted behind `[DONE]`: never passed off as whole."""
    fault = {"kind": kind, "after_tokens": 5}
    on = _broken(lab, builtin, model.faults(fault))
    off = _broken(lab, builtin, model.faults(fault), resilience="off")
    believing = _broken(lab, builtin, model.faults(fault), sabotage="believe_any_end")
    _both_are_needed(on, off, believing, code)


def test_done_alone_is_no_success(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """With a service that trusts `[DONE]`, half an answer passes for a full one, and the check sees it."""
    fault = {"kind": "abort", "after_tokens": 5}
    trusting = _broken(lab, builtin, model.faults(fault), sabotage="trust_done")
    assert trusting.outcomes()["full"] == len(trusting.attempts)
    assert all(0 < len(one.text.split()) <= 5 for one in trusting.attempts)
    with pytest.raises(AssertionError, match="passed off as full"):
        _ended_honestly(trusting, "llm_aborted")


def _abort_before_a_word(lab: Lab, proxy: Proxy, model: ModelServer, **settings: object) -> Evidence:
    with (
        lab.service(proxy, **settings) as service,
        model.faults({"kind": "abort", "after_tokens": 0}),
    ):
        service.ask(*steady(8, 1.0, patience_s=2.0))
    return service.evidence


def _nothing_was_said_yet(evidence: Evidence) -> None:
    """Before the first token another rung may still answer."""
    _all_from_the_documents(evidence, evidence.attempts, "llm_aborted", "llm_empty", "circuit_open")


def test_an_abort_before_the_first_token(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """The documents' own words stand in. Unprotected, callers see errors."""
    on = _abort_before_a_word(lab, builtin, model)
    _nothing_was_said_yet(on)
    assert_invariants(on)
    off = _abort_before_a_word(lab, builtin, model, resilience="off")
    with pytest.raises(AssertionError, match="not all from the documents"):
        _nothing_was_said_yet(off)


def _come_back_in_a_second(lab: Lab, proxy: Proxy, model: ModelServer, **settings: object) -> Evidence:
    with (
        lab.service(proxy, **settings) as service,
        model.faults({"kind": "rate_limited", "retry_after_s": 1.0, "count": 1}),
    ):
        service.ask(Ask(patience_s=8.0))
    return service.evidence


def _came_back(evidence: Evidence) -> None:
    """Asked again once, not before the second was over, and answered in full."""
    (attempt,) = evidence.attempts
    assert attempt.outcome == "full", f"answered {attempt.outcome} for {attempt.reasons}"
    first, second = evidence.named("chat")
    assert second.start_s - first.end_s >= 1.0
    assert not evidence.opened("llm")


def test_a_retry_after_that_fits_is_waited_for(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """429 with a second's wait, 8 s of patience: a full answer, later. Without waiting, a poorer one."""
    on = _come_back_in_a_second(lab, builtin, model)
    _came_back(on)
    assert_invariants(on)
    hasty = _come_back_in_a_second(lab, builtin, model, retry__max_retry_after_s=0.0)
    with pytest.raises(AssertionError, match="answered degraded for"):
        _came_back(hasty)


def _turned_away(
    lab: Lab, proxy: Proxy, model: ModelServer, fault: dict[str, Any], **settings: object
) -> Evidence:
    with lab.service(proxy, **settings) as service, model.faults(fault):
        service.ask(*steady(10, 1.5, patience_s=2.0))
    return service.evidence


def _pushback_obeyed(evidence: Evidence) -> None:
    """One attempt each, an answer at once from the documents, and a closed breaker: nothing is broken."""
    _all_from_the_documents(evidence, evidence.attempts, "http_429", "pushback", "bulkhead_full")
    assert all(span["rag.attempt"] == "1" for span in evidence.named("chat"))
    assert quantile([one.took_s for one in evidence.attempts], 0.95) <= NOISE_S
    assert not evidence.opened("llm")


@pytest.mark.parametrize("kind", ["rate_limited", "unavailable"])
def test_pushback_is_no_failure(lab: Lab, builtin: Proxy, model: ModelServer, kind: str) -> None:
    """429 or 503 with a wait that does not fit: no waiting, no retry, no breaker. Unprotected: errors."""
    fault = {"kind": kind, "retry_after_s": 30.0}
    on = _turned_away(lab, builtin, model, fault)
    _pushback_obeyed(on)
    assert_invariants(on)
    off = _turned_away(lab, builtin, model, fault, resilience="off")
    with pytest.raises(AssertionError, match="not all from the documents"):
        _pushback_obeyed(off)


def _failure_noticed(evidence: Evidence) -> None:
    """Answers from the documents; after a few calls the breaker spares the server the others."""
    _all_from_the_documents(evidence, evidence.attempts, "http_5xx", "circuit_open")
    evidence.first_opening("llm")
    assert len(evidence.named("chat")) < len(evidence.attempts)


def test_a_503_is_a_failure(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """503 without a word on when to come back opens the breaker. Unprotected, callers see errors."""
    fault = {"kind": "unavailable"}
    on = _turned_away(lab, builtin, model, fault)
    _failure_noticed(on)
    assert_invariants(on)
    off = _turned_away(lab, builtin, model, fault, resilience="off")
    with pytest.raises(AssertionError, match="not all from the documents"):
        _failure_noticed(off)


def _kept(lab: Lab, proxy: Proxy, model: ModelServer, **settings: object) -> Evidence:
    """Everything is asked once, then the model server fails and everything is asked again."""
    with lab.service(proxy, **settings) as service:
        service.mark("before")
        service.ask(*steady(10, 0.8, patience_s=3.0))
        with model.faults({"kind": "unavailable"}):
            service.mark("failing")
            service.ask(*steady(10, 0.8, patience_s=3.0))
    return service.evidence


def _answered_again(evidence: Evidence) -> None:
    """The same words as before, labelled as kept in body, header and span."""
    before, again = evidence.between("before", "failing"), evidence.between("failing")
    assert evidence.outcomes(before) == {"full": len(before)}, evidence.told(before)
    assert evidence.outcomes(again) == {"cached": len(again)}, f"not kept: {evidence.told(again)}"
    assert [one.text for one in again] == [one.text for one in before]
    for one in again:
        assert one.headers["x-rag-rung"] == "exact_cache"
        assert {loss["fallback"] for loss in one.degraded} == {"exact_cache"}
        span = evidence.request_span(one)
        assert span is not None and span["rag.cache.hit"] == "exact"


def test_kept_answers_stand_in(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """What was answered in full before is answered so again. Without a cache: from the documents only."""
    on = _kept(lab, builtin, model, cache__when="fallback")
    _answered_again(on)
    assert_invariants(on)
    forgetful = _kept(lab, builtin, model, cache__when="never")
    with pytest.raises(AssertionError, match="not kept"):
        _answered_again(forgetful)
