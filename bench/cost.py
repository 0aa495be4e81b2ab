"""What an answer costs: CPU time of the service's process, less that of the thread that embeds.

Two lengths of streamed answer give the cost of a token as a slope; a JSON answer of `PLAIN_TOKENS` tokens
(about what the simulator says) is the plain answer. CPU time, not wall time, so that a busy machine disturbs
little; the median of some rounds, the services taking turns, so that it disturbs all alike.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.generator import load
from bench.processes import Running

EMBEDDER_THREAD = "embedder"
LOOP_THREAD = "MainThread"
PLAIN_TOKENS = 40
LONG_TOKENS = 240
CALLERS = 8
#: A neighbour's hiccup may cost an answer its vector leg; more than so many would change what is measured.
MOST_OTHERS_RATIO = 0.01

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU milliseconds per answer in one round."""

    outside_ms: float
    loop_ms: float
    embedder_ms: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The medians over all rounds."""

    name: str
    plain_ms: float
    plain_loop_ms: float
    one_token_ms: float
    stream_ms: float
    embedder_ms: float
    token_us: float

    @property
    def off_loop_ms(self) -> float:
        """Of a plain answer, what other threads (the exporters') take."""
        return self.plain_ms - self.plain_loop_ms


class NothingMeasured(Exception):
    """Answers failed, so their cost means nothing."""


def spend(service: Running, questions: Sequence[str], *, tokens: int, stream: bool, answers: int) -> Spent:
    """Ask `answers` questions whose answers have `tokens` tokens each."""
    asked = [f"{question} [{tokens} tokens]" for question in questions]
    before = service.get("/bench")
    done = load(service.url + "/v1/answers", asked, callers=CALLERS, answers=answers, stream=stream)
    after = service.get("/bench")
    others = Counter(
        f"{exchange.rung or exchange.outcome or 'nothing'} ({exchange.ending})"
        for exchange in done.exchanges
        if (exchange.ending, exchange.outcome) != ("done", "full")
    )
    if others.total() > MOST_OTHERS_RATIO * len(done.exchanges):
        told = ", ".join(f"{count} {what}" for what, count in others.items())
        raise NothingMeasured(f"{service.name}: of {len(done.exchanges)} answers were not full: {told}")

    def per_answer_ms(spent_s: float) -> float:
        return spent_s * 1000.0 / len(done.exchanges)

    def of_thread(name: str) -> float:
        return float(after["threads"].get(name, 0.0) - before["threads"].get(name, 0.0))

    embedder_s = of_thread(EMBEDDER_THREAD)
    return Spent(
        per_answer_ms(after["cpu_s"] - before["cpu_s"] - embedder_s),
        per_answer_ms(of_thread(LOOP_THREAD)),
        per_answer_ms(embedder_s),
    )


def measure(
    services: Sequence[Running], questions: Sequence[str], *, rounds: int, answers: int, say: Say
) -> list[Cost]:
    """The cost on each service, once it has seen most questions: popular documents are kept trimmed."""
    shapes = {"one": (1, False), "plain": (PLAIN_TOKENS, False), "short": (PLAIN_TOKENS, True)} | {
        "long": (LONG_TOKENS, True)
    }
    found: dict[tuple[str, str], list[Spent]] = {}
    for service in services:
        say(f"cost, warm-up: {service.name}")
        spend(service, questions, tokens=1, stream=False, answers=len(questions))
    for number in range(1, rounds + 1):
        for shape, (tokens, stream) in shapes.items():
            for service in services:
                say(f"cost, round {number} of {rounds}: {shape} answers, {service.name}")
                spent = spend(service, questions, tokens=tokens, stream=stream, answers=answers)
                found.setdefault((service.name, shape), []).append(spent)
    return [_cost(service.name, found) for service in services]


def _cost(name: str, found: dict[tuple[str, str], list[Spent]]) -> Cost:
    def median(shape: str, of: Callable[[Spent], float]) -> float:
        return statistics.median(of(spent) for spent in found[name, shape])

    pairs = zip(found[name, "long"], found[name, "short"], strict=True)
    slopes = [(long.outside_ms - short.outside_ms) / (LONG_TOKENS - PLAIN_TOKENS) for long, short in pairs]
    return Cost(
        name,
        plain_ms=median("plain", lambda spent: spent.outside_ms),
        plain_loop_ms=median("plain", lambda spent: spent.loop_ms),
        one_token_ms=median("one", lambda spent: spent.outside_ms),
        stream_ms=median("short", lambda spent: spent.outside_ms),
        embedder_ms=median("plain", lambda spent: spent.embedder_ms),
        token_us=statistics.median(slopes) * 1000.0,
    )
