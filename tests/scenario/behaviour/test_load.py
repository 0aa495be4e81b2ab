"""More callers than there is room for, callers who leave, and callers who all come back at once."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from tests.scenario.behaviour.client import QUESTIONS, at_once, steady
from tests.scenario.behaviour.evidence import Evidence, overlap, quantile, ratio
from tests.scenario.behaviour.invariants import (
    assert_invariants,
    probes_are_bounded,
    rejects_are_fast,
    the_models_slots_are_free_again,
)
from tests.scenario.behaviour.lab import Lab
from tests.scenario.behaviour.parts import ModelServer, Proxy

pytestmark = pytest.mark.slow
PATIENCE_S = 4.0
PLACES = 4
"""Of the small model server; see conftest.py."""


def _spike(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    """A model server with four places (about ten answers a second), at 4/s, then 40/s, then 4/s again."""
    with lab.service(proxy, llm="small_llm", **settings) as service:
        service.mark("baseline")
        service.ask(*steady(4, 1.5, patience_s=PATIENCE_S))
        service.mark("spike")
        service.ask(*steady(40, 3.0, patience_s=PATIENCE_S))
        service.mark("calm")
        service.notes["full_after_s"] = service.ask_until_full(10.0)
        service.mark("recovered")
        service.ask(*steady(4, 1.5, patience_s=PATIENCE_S))
    return service.evidence


def _bore_the_spike(evidence: Evidence) -> None:
    """Nearly all are answered in time, in full or less, with an early first word; nothing is asked twice."""
    spike = evidence.between("spike", "calm")
    assert ratio(spike, lambda one: one.answered) >= 0.9, f"not answered in time: {evidence.told(spike)}"
    firsts = [one.first_token_s if one.answered else math.inf for one in spike if one.stream]
    assert quantile(firsts, 0.9) <= evidence.settings.generate.first_token_s + 0.5
    for word in ("search", "chat"):
        assert len(evidence.named(word)) <= 1.1 * len(evidence.attempts)
    assert evidence.notes["full_after_s"] <= 5.0
    for calm in (evidence.between("baseline", "spike"), evidence.between("recovered")):
        assert ratio(calm, lambda one: one.answered) == 1.0, evidence.told(calm)


def _kept_the_model_busy(evidence: Evidence) -> None:
    """The model loses no work to callers who do not wait for it any more."""
    made, possible = _goodput(evidence), _saturation(evidence)
    assert made >= 0.8 * possible, f"the model made {made:.1f} of {possible:.1f} answers a second"


def _nobody_waited_in_vain(evidence: Evidence) -> None:
    """Who cannot have the model's answer hears so at once, not when a first token is overdue."""
    spike = evidence.between("spike", "calm")
    waited = ratio(spike, lambda one: "timeout" in {loss["reason"] for loss in one.degraded})
    assert waited <= 0.05, f"waited in vain: {waited:.0%}, {evidence.told(spike)}"


def _saturation(evidence: Evidence) -> float:
    """Answers a second that the model server can give: its places by how long one takes undisturbed."""
    end_s = evidence.marks["spike"]
    undisturbed = [span.took_s for span in evidence.named("chat") if span.end_s < end_s]
    return PLACES / quantile(undisturbed, 0.5)


def _goodput(evidence: Evidence) -> float:
    """The model's own answers a second, over all the time in which answers of the spike still came."""
    made = [
        one
        for one in evidence.between("spike", "calm")
        if one.answered and "extractive" not in {loss["fallback"] for loss in one.degraded}
    ]
    return len(made) / (max(one.ended_s for one in made) - evidence.marks["spike"]) if made else 0.0


def test_a_tenfold_spike(lab: Lab, builtin: Proxy) -> None:
    """Ten times the traffic: callers are answered at once, if by the documents, and the model loses no work.

    That takes the limit that learns: with a fixed one, calls wait in the model server until they are worth
    nothing. With no protection most wait in vain.
    """
    on = _spike(lab, builtin)
    _bore_the_spike(on)
    _kept_the_model_busy(on)
    _nobody_waited_in_vain(on)
    assert_invariants(on)
    fixed = _spike(lab, builtin, generate__limiter="fixed")
    with pytest.raises(AssertionError, match="waited in vain"):
        _nobody_waited_in_vain(fixed)
    off = _spike(lab, builtin, resilience="off")
    with pytest.raises(AssertionError, match="not answered in time"):
        _bore_the_spike(off)


def _crowd(lab: Lab, proxy: Proxy, model: ModelServer, **settings: object) -> Evidence:
    """Four places, answers that take over a second, and sixty callers a second."""
    with (
        lab.service(proxy, admission__max_in_flight=4, **settings) as service,
        model.faults({"kind": "slow_tokens", "delay_s": 0.03}),
    ):
        service.ask(*steady(60, 3.0, patience_s=PATIENCE_S))
    return service.evidence


def _refused_at_once(evidence: Evidence) -> None:
    """Over a hundred (or there is no 99th percentile) are told when to come back; the admitted are served."""
    refused = [one for one in evidence.attempts if one.outcome == "refused"]
    assert len(refused) >= 100, evidence.told()
    assert all(one.status == 503 and int(one.headers["retry-after"]) >= 1 for one in refused)
    assert all(one.answered for one in evidence.attempts if one.outcome != "refused"), evidence.told()
    rejects_are_fast(evidence)


def test_a_crowd_at_a_full_house(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """Who cannot be served hears it at once. With a door that lets them wait in line, after that wait."""
    on = _crowd(lab, builtin, model)
    _refused_at_once(on)
    assert_invariants(on)
    patient = _crowd(lab, builtin, model, admission__max_wait_s=1.0)
    with pytest.raises(AssertionError, match="refusals"):
        _refused_at_once(patient)


IMPORTANT, BATCH = QUESTIONS[0], QUESTIONS[1]


def _pressed(lab: Lab, proxy: Proxy, model: ModelServer, *, declared: bool) -> Evidence:
    """Ten places; batch work comes first and in numbers, then what matters."""
    batch = [replace(ask, question=BATCH) for ask in at_once(16, patience_s=6.0)]
    important = [replace(ask, question=IMPORTANT) for ask in at_once(5, start_s=0.4, patience_s=6.0)]
    if declared:
        batch = [replace(ask, criticality="sheddable") for ask in batch]
        important = [replace(ask, criticality="critical") for ask in important]
    with (
        lab.service(proxy, admission__max_in_flight=10) as service,
        model.faults({"kind": "slow_tokens", "delay_s": 0.03}),
    ):
        service.ask(*batch, *important)
    return service.evidence


def _shed_from_below(evidence: Evidence) -> None:
    """Only batch work is refused, at once and with a time to come back; what matters is at most shortened."""
    important = [one for one in evidence.attempts if one.question == IMPORTANT]
    assert all(one.answered for one in important), f"what matters was refused: {evidence.told(important)}"
    assert {"pressure"} >= {reason for one in important for reason in one.reasons}
    refused = [one for one in evidence.attempts if one.outcome == "refused"]
    assert refused and all(one.status == 503 for one in refused)
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)


def test_the_least_critical_work_goes_first(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """Sheddable work leaves half of the places free. Callers who do not declare it meet a full house."""
    on = _pressed(lab, builtin, model, declared=True)
    _shed_from_below(on)
    assert_invariants(on)
    undeclared = _pressed(lab, builtin, model, declared=False)
    with pytest.raises(AssertionError, match="what matters was refused"):
        _shed_from_below(undeclared)


def _leaving(lab: Lab, proxy: Proxy, model: ModelServer, sabotage: str | None = None) -> Evidence:
    """Answers take 4 s; callers leave after three tokens, or after half a second without a word."""
    with lab.service(proxy, sabotage=sabotage) as service:
        with model.faults({"kind": "slow_tokens", "delay_s": 0.1}):
            streams = at_once(10, patience_s=8.0, hang_up_tokens=3)
            wholes = at_once(10, patience_s=8.0, hang_up_s=0.5, stream=False)
            service.ask(*streams, *wholes)
        service.mark("left")
    return service.evidence


def _left_no_trace(evidence: Evidence) -> None:
    """All have left, their slots are free within a second, and no breaker took it for a failure."""
    assert {one.ending for one in evidence.attempts} == {"hung_up"}
    assert max(reading.running for reading in evidence.readings) >= 10, "the answers did not overlap"
    the_models_slots_are_free_again(evidence)
    assert not evidence.opened("llm")
    assert all(span["rag.stream.completed"] == "false" for span in evidence.named("POST"))


def test_clients_that_hang_up(lab: Lab, builtin: Proxy, model: ModelServer) -> None:
    """Streams and JSON answers alike stop at once. A service that does not look finishes them for nobody."""
    on = _leaving(lab, builtin, model)
    _left_no_trace(on)
    assert_invariants(on)
    deaf = _leaving(lab, builtin, model, sabotage="ignore_hang_ups")
    with pytest.raises(AssertionError, match="slots were still held"):
        _left_no_trace(deaf)


def _impatient(lab: Lab, proxy: Proxy, hang_up_s: float, sabotage: str | None = None) -> Evidence:
    """The vector DB hangs for longer than anybody waits, and searches may take longer than that, too."""
    with (
        lab.service(proxy, sabotage=sabotage, search__attempt_s=2.0) as service,
        proxy.toxic("vector_db", "latency", latency=5000),
    ):
        service.ask(*steady(10, 1.5, patience_s=6.0, hang_up_s=hang_up_s))
    return service.evidence


def test_impatient_clients_hide_no_hanging_dependency(lab: Lab, proxy: Proxy) -> None:
    """An old cancellation counts as a slow call and opens the breaker, a young one is neutral."""
    on = _impatient(lab, proxy, hang_up_s=0.6)
    assert on.opened("vector_db")
    assert_invariants(on)
    young = _impatient(lab, proxy, hang_up_s=0.12)
    assert len(young.named("search")) >= 0.5 * len(young.attempts), "they left before a search had begun"
    assert not young.opened("vector_db")
    forgiving = _impatient(lab, proxy, hang_up_s=0.6, sabotage="forgive_cancellations")
    assert len(forgiving.named("search")) >= 0.5 * len(forgiving.attempts)
    assert not forgiving.opened("vector_db"), "what a breaker that ignores every cancellation does"


PROBES = 3


def _herd(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    with lab.service(proxy, **settings) as service:
        with proxy.shut("vector_db"):
            service.ask(*steady(15, 1.0, patience_s=2.0))
        assert service.breakers()["vector_db"] == "open"
        with proxy.toxic("vector_db", "latency", latency=60):
            time.sleep(1.3)  # the open time is over, and nobody has asked since
            service.mark("back")
            service.ask(*at_once(25, patience_s=3.0))
        service.ask(*steady(8, 2.0, patience_s=3.0))
    return service.evidence


def _let_in_by_threes(evidence: Evidence) -> None:
    """A handful of probes, everybody else served without it; then it is closed again."""
    half_open = [
        span
        for span in evidence.named("breaker")
        if span.get("resilience.circuit_breaker.state") == "half_open"
        and span["resilience.circuit_breaker.outcome"] != "rejected"
    ]
    assert half_open, "the breaker was never half open"
    assert overlap(half_open) <= PROBES, f"{overlap(half_open)} probes at a time"
    assert evidence.between("back")
    assert all(one.answered for one in evidence.between("back"))
    assert evidence.closed("vector_db")


def test_a_thundering_herd_at_recovery(lab: Lab, proxy: Proxy) -> None:
    """A crowd meets a vector DB that has just come back: three probe. Without that limit, all do."""
    on = _herd(lab, proxy)
    _let_in_by_threes(on)
    assert_invariants(on)
    unlimited = _herd(lab, proxy, breaker__probes=100)
    probes_are_bounded(unlimited)
    with pytest.raises(AssertionError, match="probes at a time"):
        _let_in_by_threes(unlimited)
