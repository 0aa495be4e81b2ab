"""The vector DB slow, gone, flaky, empty or of another dimension: the lexical leg answers, and says so."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

import httpx
import pytest

from chaos.stack.ports import reserve_port
from tests.scenario.behaviour.client import steady
from tests.scenario.behaviour.evidence import Attempt, Evidence, quantile
from tests.scenario.behaviour.invariants import assert_invariants, every_degraded_answer_says_so
from tests.scenario.behaviour.lab import Lab
from tests.scenario.behaviour.parts import Proxy

pytestmark = pytest.mark.slow
NOISE_S = 0.2
"""What a busy machine may add to a time that the settings cap."""


def _lost_its_vectors(attempt: Attempt, *reasons: str) -> bool:
    """A whole answer from the lexical leg that says why."""
    return (
        attempt.answered
        and attempt.outcome == "degraded"
        and {loss["fallback"] for loss in attempt.degraded} == {"lexical"}
        and attempt.reasons <= set(reasons)
    )


def _all_lexical(evidence: Evidence, attempts: Sequence[Attempt], *reasons: str) -> None:
    """Every answer is one from the lexical leg, for one of these reasons."""
    assert attempts
    assert all(_lost_its_vectors(one, *reasons) for one in attempts), (
        f"not lexical: {evidence.told(attempts)}"
    )


def _all_answered(evidence: Evidence) -> None:
    assert all(one.answered for one in evidence.attempts), f"not all answered: {evidence.told()}"


def _slow(lab: Lab, proxy: Proxy, latency_ms: int, arm: str = "on", **settings: object) -> Evidence:
    with (
        lab.service(proxy, arm=arm, **settings) as service,
        proxy.toxic("vector_db", "latency", latency=latency_ms),
    ):
        service.ask(*steady(12, 1.5, patience_s=1.5))
    return service.evidence


def _absorbed(evidence: Evidence) -> None:
    """Answers stay full although every search is slower; nothing opens; hardly a search is sent twice."""
    assert evidence.outcomes()["full"] >= 0.95 * len(evidence.attempts), f"not absorbed: {evidence.told()}"
    assert not evidence.opened("vector_db")
    first = [span.took_s for span in evidence.named("search") if span.get("rag.hedge") != "true"]
    assert quantile(first, 0.0) >= 0.1, "the fault did not bite"
    hedges = len(evidence.named("search")) - len(first)
    assert 1 <= hedges <= math.ceil(0.05 * len(evidence.attempts)), f"{hedges} hedges"


def test_100_ms_more_are_absorbed(lab: Lab, proxy: Proxy) -> None:
    """+100 ms: full answers, a closed breaker. A cap that was not sized for it (50 ms) loses the leg.

    Hedging is on and every search is late enough for one; without its budget each would be sent twice.
    """
    on = _slow(lab, proxy, 100, search__hedge_after_s=0.05)
    _absorbed(on)
    assert_invariants(on)
    short = _slow(lab, proxy, 100, "cap of 50 ms", search__attempt_s=0.05)
    with pytest.raises(AssertionError, match="not absorbed"):
        _absorbed(short)
    lavish = _slow(lab, proxy, 100, "hedges for all", search__hedge_after_s=0.05, search__hedge_ratio=1.0)
    with pytest.raises(AssertionError, match="hedges"):
        _absorbed(lavish)


def _flat(evidence: Evidence) -> None:
    """Whatever the latency: capped attempts, no second one, an open breaker, then almost no wait."""
    _all_lexical(evidence, evidence.attempts, "timeout", "circuit_open")
    opened = evidence.first_opening("vector_db")
    assert opened.at_s - evidence.attempts[0].started_s <= evidence.settings.breaker.window_s
    retrievals = evidence.named("retrieval")
    cap_s = evidence.settings.search.attempt_s
    assert quantile([span.took_s for span in retrievals], 0.5) <= cap_s + NOISE_S / 2
    assert quantile([span.took_s for span in retrievals], 0.95) <= cap_s + NOISE_S
    skipped = [span for span in retrievals if span.get("error.type") == "circuit_open"]
    assert skipped and quantile([span.took_s for span in skipped], 0.5) <= 0.02
    assert all(span["rag.attempt"] == "1" for span in evidence.named("search")), "a timeout was retried"


@pytest.mark.parametrize("latency_ms", [300, 2000, 10_000])
def test_from_300_ms_on_all_latencies_look_alike(lab: Lab, proxy: Proxy, latency_ms: int) -> None:
    """+300 ms to +10 s: the same flat degraded answers. Unprotected, callers wait as long as the fault."""
    on = _slow(lab, proxy, latency_ms)
    _flat(on)
    assert_invariants(on)
    off = _slow(lab, proxy, latency_ms, "off", resilience="off")
    assert quantile([one.took_s for one in off.attempts], 0.5) >= min(latency_ms / 1000.0, 1.4)
    with pytest.raises(AssertionError, match="not lexical"):
        _flat(off)


def _hurried(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    """Callers with 0.6 s of patience, a vector DB that hangs, and searches that may take longer than that."""
    with (
        lab.service(proxy, search__attempt_s=2.0, **settings) as service,
        proxy.toxic("vector_db", "latency", latency=5000),
    ):
        service.ask(*steady(10, 1.0, patience_s=0.6))
    return service.evidence


def test_hurried_callers_are_answered_in_time(lab: Lab, proxy: Proxy) -> None:
    """The search leaves time for another way to answer. Without a reserve it takes all that is left."""
    on = _hurried(lab, proxy)
    _all_answered(on)
    assert any("timeout" in one.reasons for one in on.attempts), on.told()
    assert_invariants(on)
    greedy = _hurried(lab, proxy, fallback_reserve_s=0.001)
    with pytest.raises(AssertionError, match="not all answered"):
        _all_answered(greedy)


def _down(proxy: Proxy, how: str) -> AbstractContextManager[None]:
    if how == "listener closed":
        return proxy.shut("vector_db")
    return proxy.upstream("vector_db", f"127.0.0.1:{reserve_port()}")  # accepted by the proxy, then closed


def _gone(lab: Lab, proxy: Proxy, how: str, **settings: object) -> Evidence:
    with lab.service(proxy, **settings) as service:
        with _down(proxy, how):
            service.mark("fault")
            service.ask(*steady(12, 2.0, patience_s=2.0))
            service.notes["ready"] = service.readiness()
            service.mark("over")
        service.notes["full_after_s"] = service.ask_until_full(4.0)
        service.ask(*steady(8, 0.5, patience_s=2.0))  # the rest of the probes
    return service.evidence


def _lived_without(evidence: Evidence) -> None:
    """Found out within 2 s, every answer lexical, ready all the time, full again after the open time."""
    during = evidence.between("fault", "over")
    _all_lexical(evidence, during, "connect_error", "read_error", "circuit_open")
    assert evidence.first_opening("vector_db").at_s - evidence.marks["fault"] <= 2.0
    assert evidence.notes["ready"]["status"] == 200
    assert evidence.notes["ready"]["degraded"] == ["vector_db"]
    assert evidence.closed("vector_db")
    assert evidence.notes["full_after_s"] <= evidence.settings.breaker.max_open_s + 1.0


@pytest.mark.parametrize("how", ["listener closed", "upstream dead"])
def test_a_vector_db_that_is_down(lab: Lab, proxy: Proxy, how: str) -> None:
    """Refused connections, and ones that end at once: found out and lived without, until it is back."""
    on = _gone(lab, proxy, how)
    _lived_without(on)
    assert_invariants(on)
    off = _gone(lab, proxy, how, resilience="off")
    with pytest.raises(AssertionError, match="not lexical"):
        _lived_without(off)


def _resets(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    """Toxicity is drawn for each connection as the toxic comes: it comes and goes, or the pool were clean."""
    window = {"breaker__min_calls": 10}  # the default: of six calls, three resets are no rarity
    with (
        lab.service(proxy, **window, **settings) as service,
        service.ask_aside(*steady(20, 3.0, patience_s=2.0)),
    ):
        for _ in range(20):
            with proxy.toxic("vector_db", "reset_peer", timeout=0, toxicity=0.3):
                time.sleep(0.1)
            time.sleep(0.05)
    return service.evidence


def _retried_within_the_budget(evidence: Evidence) -> None:
    """Every answer comes, most of them full thanks to one retry on a fresh connection; nothing opens."""
    _all_answered(evidence)
    assert evidence.outcomes()["full"] >= 0.7 * len(evidence.attempts), evidence.told()
    assert not evidence.opened("vector_db")
    searches = evidence.named("search")
    assert any(span.get("error.type") == "read_error" for span in searches), "the fault did not bite"
    first = sum(span["rag.attempt"] == "1" for span in searches)
    assert len(searches) / first <= 1.1 + evidence.settings.retry.budget_minimum / first


def test_connections_that_are_reset(lab: Lab, proxy: Proxy) -> None:
    """Some connections reset: a retry within the budget, a closed breaker. Unprotected: errors."""
    on = _resets(lab, proxy)
    _retried_within_the_budget(on)
    assert_invariants(on)
    off = _resets(lab, proxy, resilience="off")
    with pytest.raises(AssertionError, match="not all answered"):
        _retried_within_the_budget(off)


def _flapping(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    with lab.service(proxy, **settings) as service, service.ask_aside(*steady(15, 4.0, patience_s=2.0)):
        for _ in range(5):
            with proxy.shut("vector_db"):
                time.sleep(0.4)
            time.sleep(0.4)
    return service.evidence


def _calm(evidence: Evidence) -> None:
    """Every answer comes and is labelled; the breaker opens, but not oftener than its open time allows."""
    _all_answered(evidence)
    assert evidence.outcomes()["degraded"] > 0, "the fault did not bite"
    openings = len(evidence.opened("vector_db"))
    lasted_s = evidence.attempts[-1].ended_s - evidence.attempts[0].started_s
    shortest_s = evidence.settings.breaker.open_s * 0.8
    assert 1 <= openings <= 1 + lasted_s / shortest_s


def test_a_vector_db_that_flaps(lab: Lab, proxy: Proxy) -> None:
    """Down and up every 0.4 s: labelled answers and a breaker that does not chatter. Unprotected: errors."""
    on = _flapping(lab, proxy)
    _calm(on)
    assert_invariants(on)
    off = _flapping(lab, proxy, resilience="off")
    with pytest.raises(AssertionError, match="not all answered"):
        _calm(off)


@pytest.fixture(scope="session")
def emptied(lab: Lab) -> str:
    """The address of a vector DB of the same stamp from which every point was deleted."""
    empty = lab.start_vector_db("empty_db", lab.copy_of_index("emptied"))
    collection = f"{empty.url}/v1/collections/corpus"
    gone = httpx.post(f"{collection}/delete", json={"ids": lab.document_ids()}, timeout=30.0, trust_env=False)
    assert gone.status_code == 200, gone.text
    return empty.address


def _empty(lab: Lab, proxy: Proxy, emptied: str, **settings: object) -> Evidence:
    with lab.service(proxy, **settings) as service, proxy.upstream("vector_db", emptied):
        service.ask(*steady(10, 1.0, patience_s=2.0))
    return service.evidence


def _said_so(evidence: Evidence) -> None:
    """No vector leg, an HTTP 200 from the DB, and still no answer that calls itself full."""
    _all_answered(evidence)
    assert evidence.named("retrieval")
    assert all("vector" not in span["rag.retrieval.legs"] for span in evidence.named("retrieval"))
    _all_lexical(evidence, evidence.attempts, "empty_result")
    every_degraded_answer_says_so(evidence)


def test_empty_results_are_labelled(lab: Lab, proxy: Proxy, emptied: str) -> None:
    """The nearest documents always exist: a search that finds none has failed. Unprotected, it says full."""
    on = _empty(lab, proxy, emptied)
    _said_so(on)
    assert_invariants(on)
    off = _empty(lab, proxy, emptied, resilience="off")
    assert off.outcomes() == {"full": len(off.attempts)}, "the undeclared degradation that this is about"
    with pytest.raises(AssertionError, match="not lexical"):
        _said_so(off)


def _another_dimension(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    with lab.service(proxy, sabotage="embed_with_another_model", **settings) as service:
        service.ask(*steady(10, 1.0, patience_s=2.0))
    return service.evidence


def _our_own_mistake(evidence: Evidence) -> None:
    """Asked once each, answered from the lexical leg, and no breaker punished the DB for our vectors."""
    _all_lexical(evidence, evidence.attempts, "wrong_dimension")
    assert all(span["db.response.status_code"] == "422" for span in evidence.named("search"))
    assert len(evidence.named("search")) == len(evidence.attempts)
    assert not evidence.opened("vector_db")


def test_vectors_of_another_dimension(lab: Lab, builtin: Proxy) -> None:
    """The DB refuses them with 422: lexical answers that say so. Unprotected, callers see errors."""
    on = _another_dimension(lab, builtin)
    _our_own_mistake(on)
    assert_invariants(on)
    off = _another_dimension(lab, builtin, resilience="off")
    with pytest.raises(AssertionError, match="not lexical"):
        _our_own_mistake(off)
