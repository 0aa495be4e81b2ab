"""The cost behind a measurement: a first guess by hand, then a search over the simulator.

The guess reads off what the lowest level shows nearly alone: a token takes a step, a first token grows with
its prompt. How the levels differ gives what each further request adds. The search then moves all of them
until the simulated percentiles are the measured ones; what a prompt token costs the whole batch, and what it
costs its own request alone, only the fuller levels can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from rag_service.model_server.calibration.fit import Fit
from rag_service.model_server.calibration.live.measure import Measured
from rag_service.model_server.calibration.live.search import search
from rag_service.model_server.calibration.live.simulate import simulated
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset

NAMES = (
    "base_s",
    "prefill_token_s",
    "decode_sequence_s",
    "request_s",
    "prompt_token_s",
    "request_sequence_s",
    "jitter_ratio",
)
SEEDS = range(3)
# No parameter may start at 0, from which no factor leads away.
_LEAST_S = 1e-7
_FIRST_JITTER = 0.1
_SEED = 1


def first_guess(measured: Sequence[Measured]) -> Cost:
    """From the lowest level, and from how the highest differs."""
    lowest = min(measured, key=lambda one: one.level.concurrency)
    highest = max(measured, key=lambda one: one.level.concurrency)
    prompts = np.array([sample.prompt_tokens for sample in lowest.counted], dtype=float)
    firsts = np.array([sample.first_token_s for sample in lowest.counted])
    slope, fixed = np.polyfit(prompts, firsts, 1) if np.ptp(prompts) else (0.0, float(np.median(firsts)))
    step_s = lowest.figures.token_p50_s
    more = highest.level.concurrency - lowest.level.concurrency
    each_s = (highest.figures.token_p50_s - step_s) / more if more else 0.0
    later_s = highest.figures.first_token_p50_s - lowest.figures.first_token_p50_s
    each_first_s = later_s / more if more else 0.0
    return Cost(
        base_s=max(step_s, _LEAST_S),
        prefill_token_s=max(float(slope) / 2, _LEAST_S),
        decode_sequence_s=max(each_s / 2, _LEAST_S),
        request_s=max(float(fixed) - step_s, step_s / 10, _LEAST_S),
        prompt_token_s=max(float(slope) / 2, _LEAST_S),
        request_sequence_s=max(each_first_s / 2, _LEAST_S),
        jitter_ratio=_FIRST_JITTER,
    )


def fitted(preset: Preset, measured: Sequence[Measured], seeds: range = SEEDS) -> tuple[Preset, Fit]:
    """The preset with the cost that was found in place of its own."""
    wanted = [one.figures.all_s() for one in measured]

    def missed(cost: Cost) -> list[float]:
        trial = replace(preset, cost=cost)
        return [
            math.log(now_s / was_s)
            for one, was in zip(measured, wanted, strict=True)
            for now_s, was_s in zip(simulated(trial, one, seeds).all_s(), was, strict=True)
        ]

    found = search(first_guess(measured), NAMES, missed, Random(_SEED))
    return replace(preset, cost=found.cost), found
