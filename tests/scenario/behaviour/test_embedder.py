"""More questions than the embedder can take: the lexical leg needs no embedding and answers at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.scenario.behaviour.client import steady
from tests.scenario.behaviour.evidence import Evidence
from tests.scenario.behaviour.invariants import assert_invariants
from tests.scenario.behaviour.lab import Lab
from tests.scenario.behaviour.parts import Proxy

pytestmark = pytest.mark.slow
CALLERS = 120
FOR_S = 2.0
NOISE_S = 0.15
_LONG = "I have tried it with the following words. " * 12
"""Long questions take the embedder several times as long, and the rest of the service hardly longer."""


def _flood(lab: Lab, proxy: Proxy, **settings: object) -> Evidence:
    room = {f"{group}__max_in_flight": 512 for group in ("admission", "search", "generate")}
    queue = {"embed__queue_deadline_s": 0.1, "embed__attempt_s": 3.0}
    with lab.service(proxy, **room, **queue, **settings) as service:
        asks = steady(CALLERS / FOR_S, FOR_S, patience_s=4.0, stream=False)
        service.ask(*(replace(ask, question=f"{ask.question} {_LONG}") for ask in asks))
    return service.evidence


def _queue_is_bounded(evidence: Evidence) -> None:
    """Nobody waits in the embedder's queue beyond its deadline; who would, loses that leg and says so."""
    most_s = evidence.settings.embed.queue_deadline_s + NOISE_S
    embeddings = evidence.named("embeddings")
    waits = [float(wait) for span in embeddings if (wait := span.get("rag.embed.queue_wait"))]
    assert waits and max(waits) <= most_s, f"one waited for {max(waits, default=0.0)} s and was embedded"
    turned_away = [
        span.took_s for span in embeddings if span.get("error.type") in ("queue_full", "queue_timeout")
    ]
    assert turned_away, "the embedder was not saturated"
    assert max(turned_away) <= most_s, f"one waited for {max(turned_away)} s to be turned away"
    assert all(one.answered for one in evidence.attempts), evidence.told()
    lost = [one for one in evidence.attempts if one.reasons & {"queue_full", "queue_timeout"}]
    assert len(lost) >= 0.1 * CALLERS, "the embedder was not saturated"
    assert all(one.outcome == "degraded" for one in lost)


def test_a_saturated_embedder(lab: Lab, builtin: Proxy) -> None:
    """A flood: a queue bounded in length and time, lexical answers beyond. Unprotected, the wait grows."""
    on = _flood(lab, builtin)
    _queue_is_bounded(on)
    assert_invariants(on)
    off = _flood(lab, builtin, resilience="off")
    with pytest.raises(AssertionError, match="and was embedded"):
        _queue_is_bounded(off)
