"""A preset against its published curve: the same load in virtual time, the same figures derived from it.

Rates, lengths, shared prompts and the 440 callers are those of the measurement. What must hold: at whatever
number of decoding sequences comes out, the time per output token is within 10 % of the measured line there;
at the same offered rate it is within 15 % of what was measured (the fuller the server, the more sequences a
slower step leaves in it, so there a small difference grows to a larger one); and between the same two rates
the first token's median jumps from tens of milliseconds to seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import fmean, median

from rag_service.model_server.calibration.published import (
    CALLERS,
    PROMPTS,
    SECONDS_PER_RATE,
    SYSTEM_PROMPT_TOKENS,
    SYSTEM_PROMPTS,
    Curve,
    Rate,
)
from rag_service.model_server.kv_cache import block_hashes
from rag_service.model_server.presets import Preset
from rag_service.model_server.virtual import Arrival, Simulation, simulate

ALLOWED_ERROR_RATIO = 0.10
ALLOWED_AT_RATE_RATIO = 0.15
JUMP = 10.0
# A first token whose median is above this has waited in the queue.
QUEUED_S = 0.05
SEED = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One rate: what was published and what the simulator makes of it."""

    published: Rate
    simulated: Rate
    on_the_line_s: float

    @property
    def token_error_ratio(self) -> float:
        """Against the time per output token at the same offered rate."""
        return self.simulated.token_s / self.published.token_s - 1.0

    @property
    def line_error_ratio(self) -> float:
        """Against the line at the same number of decoding sequences."""
        return self.simulated.token_s / self.on_the_line_s - 1.0

    @property
    def within(self) -> bool:
        return (
            abs(self.line_error_ratio) <= ALLOWED_ERROR_RATIO
            and abs(self.token_error_ratio) <= ALLOWED_AT_RATE_RATIO
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """A curve beside its simulation."""

    curve: Curve
    points: tuple[Point, ...]

    @property
    def jumps_alike(self) -> bool:
        """The first token's median leaps at the same step of the offered rate, and at no other."""
        return _jumps([p.simulated for p in self.points]) == _jumps([p.published for p in self.points])

    @property
    def holds(self) -> bool:
        return self.jumps_alike and all(point.within for point in self.points)


def compare(
    curve: Curve, preset: Preset, *, rates: tuple[Rate, ...] = (), seconds: float = SECONDS_PER_RATE
) -> Comparison:
    """Simulate a curve's rates, or some of them, for so many seconds each."""
    points = []
    for rate in rates or curve.rates:
        random = Random(f"{curve.preset} {rate.offered_per_s} {SEED}")
        arrivals = load(curve, rate, preset.limits.block_tokens, seconds, random)
        measured = figures(rate.offered_per_s, simulate(preset, arrivals, random, in_flight=CALLERS))
        points.append(Point(rate, measured, curve.token_s(measured.decoding)))
    return Comparison(curve, tuple(points))


def load(curve: Curve, rate: Rate, block_tokens: int, seconds: float, random: Random) -> list[Arrival]:
    """The measurement's load: exponential gaps scaled to the duration, a hundred prompts in turn."""
    number = max(int(rate.offered_per_s * seconds), 2)
    times_s = [0.0]
    for _ in range(number):
        times_s.append(times_s[-1] + random.expovariate(1.0))
    scale = seconds / times_s[-1]
    prompts = [_prompt(curve, index, random) for index in range(PROMPTS)]
    hashes = [block_hashes(prompt, block_tokens) for prompt in prompts]
    return [
        Arrival(
            at_s * scale, len(prompts[i % PROMPTS]), _near(curve.output_tokens, random), hashes[i % PROMPTS]
        )
        for i, at_s in enumerate(times_s[1:])
    ]


def figures(offered_per_s: float, simulation: Simulation) -> Rate:
    """What the reports say, derived in the same way."""
    served = simulation.served
    decode_s = fmean(one.decode_s for one in served)
    tokens = fmean(len(one.token_times_s) for one in served)
    took_s = max(one.token_times_s[-1] for one in served) - served[0].arrived_s
    per_s = len(served) / took_s
    return Rate(
        offered_per_s=offered_per_s,
        served_per_s=per_s,
        decoding=per_s * decode_s,
        first_token_p50_s=median(one.first_token_s for one in served),
        token_s=decode_s / (tokens - 1.0),
    )


def table(comparisons: tuple[Comparison, ...]) -> str:
    """The tables, as text."""
    lines: list[str] = []
    for comparison in comparisons:
        curve = comparison.curve
        lines += [
            f"{curve.preset}: published in {curve.folder}, "
            f"token = {curve.line[0] * 1e3:.2f} + {curve.line[1] * 1e3:.3f}·decoding ms",
            "  offered |     decoding |  token, ms: published simulated  error  vs line |"
            "  first token p50, ms: published simulated",
        ]
        for point in comparison.points:
            was, now = point.published, point.simulated
            mark = "" if point.within else "  <- beyond the limits"
            lines.append(
                f"  {was.offered_per_s:5.1f}/s | {was.decoding:5.1f} {now.decoding:6.1f} |"
                f"{was.token_s * 1e3:22.2f} {now.token_s * 1e3:9.2f} {point.token_error_ratio:+7.1%} "
                f"{point.line_error_ratio:+7.1%} |"
                f"{was.first_token_p50_s * 1e3:32.0f} {now.first_token_p50_s * 1e3:9.0f}{mark}"
            )
        lines += [
            "  first token jumps " + ("at the same rate" if comparison.jumps_alike else "elsewhere"),
            "",
        ]
    return "\n".join(lines)


def _jumps(rates: list[Rate]) -> list[float]:
    """The rates at which the first token's median is ten times what it was at the rate before."""
    return [
        after.offered_per_s
        for before, after in pairwise(rates)
        if after.first_token_p50_s > JUMP * before.first_token_p50_s
    ]


def _prompt(curve: Curve, index: int, random: Random) -> list[tuple[str, int, int]]:
    """Tokens that are equal where the measured prompts are: a system prompt, then a question of its own."""
    system = [("system", index % SYSTEM_PROMPTS, position) for position in range(SYSTEM_PROMPT_TOKENS)]
    question = _near(curve.prompt_tokens - SYSTEM_PROMPT_TOKENS, random)
    return system + [("question", index, position) for position in range(question)]


def _near(mean: float, random: Random) -> int:
    """A whole number whose mean is `mean`."""
    return int(mean + random.random())
