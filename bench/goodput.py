"""Goodput: good answers a second, under arrivals that do not care how the service fares.

Good is an answer that a user could use: whole, its first token and its end within the limits counted from
when the question was due, full or degraded and saying so. Refusals, errors, cut streams and late answers are
not. An extract that no model was asked for is good, too, but costs next to nothing: so the answers that the
model made are counted by themselves, capacity is theirs alone, and each of the two figures has its own peak.
What is left of the peaks at ten times capacity is what matters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from bench.generator import Load, load
from bench.load import Exchange
from bench.processes import Running
from rag_service.degradation import CACHE_HITS, LADDER, Need

Say = Callable[[str], None]
_IDLE_LIMIT_S = 15.0
_IDLE_CPU_PERCENT = 15.0
#: Rungs whose words are the model's; a service that names no rung has no other answers.
MODEL_RUNGS = frozenset({""} | {rung.name for rung in LADDER if Need.LLM in rung.needs})
CACHE_RUNGS = frozenset(CACHE_HITS)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a user puts up with: then the answer is of no use, and after `total_s` the user is gone."""

    first_token_s: float
    total_s: float

    def good(self, exchange: Exchange) -> bool:
        if exchange.status != 200 or exchange.ending != "done":
            return False
        first_s, total_s = exchange.first_s, exchange.total_s
        return (
            first_s is not None
            and total_s is not None
            and first_s <= self.first_token_s
            and total_s <= self.total_s
        )


def from_model(exchange: Exchange) -> bool:
    """Whether the model made this answer."""
    return exchange.rung in MODEL_RUNGS


@dataclass(frozen=True, slots=True)
class Shares:
    """What the good answers were, other than full: as shares of all good ones."""

    brief: float
    lexical: float
    extract: float
    cached: float

    @classmethod
    def of(cls, good: Sequence[Exchange]) -> Shares:
        def share(rungs: frozenset[str]) -> float:
            return sum(exchange.rung in rungs for exchange in good) / max(1, len(good))

        extracts = frozenset(rung.name for rung in LADDER) - MODEL_RUNGS - CACHE_RUNGS
        return cls(
            share(frozenset({"brief"})), share(frozenset({"lexical"})), share(extracts), share(CACHE_RUNGS)
        )


@dataclass(frozen=True, slots=True)
class Level:
    """One service at one multiple of capacity."""

    service: str
    multiple: float
    offered_per_s: float
    goodput_per_s: float
    from_model_per_s: float
    shares: Shares
    refused_ratio: float
    late_or_failed_ratio: float
    first_token_p95_s: float | None
    loop_lag_p99_s: float | None
    loop_lag_max_s: float | None
    generator_cpu_ratio: float
    generator_lag_p99_s: float
    trustworthy: bool


@dataclass(frozen=True, slots=True)
class Peer:
    """A service to be measured, and whether it can tell its loop's lag."""

    running: Running
    observed: bool

    @property
    def name(self) -> str:
        return self.running.name

    def loop_lag(self) -> dict[str, float] | None:
        if not self.observed:
            return None
        found: dict[str, float] = self.running.get("/bench")["lag"]
        return found


def find_capacity(
    peer: Peer, questions: Sequence[str], limits: Limits, *, callers: Sequence[int], seconds: float, say: Say
) -> float:
    """The model's good answers a second at the number of waiting callers that gets the most."""
    best = 0.0
    for number in callers:
        say(f"capacity: {number} callers")
        done = _ask(peer, questions, limits, callers=number, seconds=seconds)
        good = sum(limits.good(exchange) and from_model(exchange) for exchange in done.exchanges)
        best = max(best, good / done.wall_s)
        _wait_until_idle(peer)
    return best


def measure_level(
    peer: Peer, questions: Sequence[str], limits: Limits, *, multiple: float, capacity: float, seconds: float
) -> Level:
    """Open-loop arrivals at `multiple` times `capacity`."""
    _wait_until_idle(peer)
    peer.loop_lag()
    offered = multiple * capacity
    done = _ask(peer, questions, limits, rate=offered, seconds=seconds, seed=int(multiple * 100))
    lag = peer.loop_lag()
    good = [exchange for exchange in done.exchanges if limits.good(exchange)]
    refused = sum(exchange.status in (429, 503) for exchange in done.exchanges)
    count = len(done.exchanges)
    firsts = sorted(exchange.first_s for exchange in good if exchange.first_s is not None)
    return Level(
        peer.name,
        multiple,
        offered_per_s=offered,
        goodput_per_s=len(good) / seconds,
        from_model_per_s=sum(map(from_model, good)) / seconds,
        shares=Shares.of(good),
        refused_ratio=refused / count,
        late_or_failed_ratio=(count - len(good) - refused) / count,
        first_token_p95_s=firsts[int(len(firsts) * 0.95)] if firsts else None,
        loop_lag_p99_s=lag["p99_s"] if lag else None,
        loop_lag_max_s=lag["max_s"] if lag else None,
        generator_cpu_ratio=done.cpu_ratio,
        generator_lag_p99_s=done.lag_p99_s,
        trustworthy=done.trustworthy,
    )


def _ask(peer: Peer, questions: Sequence[str], limits: Limits, **options: object) -> Load:
    url = peer.running.url + "/v1/answers"
    return load(url, questions, stream=True, give_up_s=limits.total_s, deadline_s=limits.total_s, **options)


def _wait_until_idle(peer: Peer) -> None:
    """What one level left behind is not the next one's burden, unless the service does not get over it."""
    process = psutil.Process(peer.running.pid)
    ends_at = time.monotonic() + _IDLE_LIMIT_S
    while process.cpu_percent(0.5) > _IDLE_CPU_PERCENT and time.monotonic() < ends_at:
        pass
