"""Pushback, limiter and hedge in the whole service, over scripted upstreams."""

from __future__ import annotations

import httpx
import pytest

from rag_service.settings import GenerateSettings, RetrySettings, SearchSettings

QUEUE_FULL = {"error": {"message": "Request queue full.", "type": "ServiceUnavailableError", "code": 503}}


def limits(service):
    """What the generate spans say of the limiter, in their order."""
    return [
        span.attributes["rag.limiter.limit"]
        for span in service.finished("chat ragquake-simulator")
        if "rag.limiter.limit" in span.attributes
    ]


def test_pushback_without_a_time_is_answered_from_below_at_once(run, make_service):
    """One generation was asked for, the breaker stays closed, and the answer says why it is a lesser one."""
    service = make_service()

    async def ask():
        for _ in range(20):
            service.up.pushback = [httpx.Response(503, json=QUEUE_FULL)]
            answer = (await service.ask()).json()
            assert answer["outcome"] == "degraded"
        return (await service.send("GET", "/v1/breakers")).json()

    states = {breaker["name"]: breaker["state"] for breaker in run(ask())["breakers"]}
    assert states["llm"] == "closed"
    assert service.up.generations == 20
    (reasons,) = {span.attributes["rag.degraded.reason"] for span in service.finished("POST /v1/answers")}
    assert "pushback" in reasons


def test_a_short_retry_after_is_waited_for_and_the_answer_is_full(run, clock, make_service):
    """429 with `Retry-After: 1` costs a second, not the answer."""
    service = make_service()
    service.up.pushback = [httpx.Response(429, headers={"retry-after": "1"})]
    loop_began = clock.now
    answer = run(service.ask()).json()
    assert answer["outcome"] == "full"
    assert service.up.generations == 2
    assert clock.now - loop_began >= 1.0


def test_a_long_retry_after_is_not_waited_for(run, clock, make_service):
    """Who asks for a minute gets it; the user gets the next rung now."""
    service = make_service()
    service.up.pushback = [httpx.Response(429, headers={"retry-after": "60"})]
    began = clock.now
    assert run(service.ask()).json()["outcome"] == "degraded"
    assert clock.now - began < 1.0
    assert service.up.generations == 1


def test_waiting_for_retry_after_can_be_switched_off(run, make_service):
    """0 seconds is no wait at all, not even for `Retry-After: 0`."""
    service = make_service(retry=RetrySettings(max_retry_after_s=0.0))
    service.up.pushback = [httpx.Response(429, headers={"retry-after": "0"})]
    assert run(service.ask()).json()["outcome"] == "degraded"
    assert service.up.generations == 1


@pytest.mark.parametrize(
    ("kind", "first", "later"), [("fixed", 64, 64), ("aimd", 20, 18), ("gradient2", 20, 18)]
)
def test_pushback_cuts_the_limit_that_learns(run, make_service, kind, first, later):
    """The span of each generation shows the limit that it ran under."""
    service = make_service(generate=GenerateSettings(limiter=kind))

    async def ask():
        await service.ask()
        service.up.pushback = [httpx.Response(429)]
        await service.ask()
        await service.ask("how is a file renamed?")

    run(ask())
    seen = limits(service)
    assert (seen[0], seen[-1]) == (first, later)


def test_hedging_is_off_by_default(run, make_service):
    """A late search stays one search."""
    service = make_service()
    service.up.search_delay_s = 0.25
    assert run(service.ask()).json()["outcome"] == "full"
    assert service.up.searches == 1


def test_a_late_search_is_hedged_where_that_is_set(run, make_service):
    """The second search's result is used, its span says so, and the first one ended as cancelled."""
    service = make_service(search=SearchSettings(hedge_after_s=0.05))
    service.up.search_delays = [0.25, 0.01]
    assert run(service.ask()).json()["outcome"] == "full"
    spans = {bool(span.attributes.get("rag.hedge")): span for span in service.finished("search corpus")}
    assert set(spans) == {False, True}
    assert spans[False].attributes["error.type"] == "cancelled"
    assert "error.type" not in spans[True].attributes
