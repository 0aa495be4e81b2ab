"""The same level in virtual time: the same lengths in the same order, the same number of callers."""

from __future__ import annotations

from random import Random

from rag_service.model_server.calibration.live.figures import Figures, Sample, figures
from rag_service.model_server.calibration.live.measure import Measured
from rag_service.model_server.presets import Preset
from rag_service.model_server.virtual import Arrival, Served, simulate


def simulated(preset: Preset, measured: Measured, seeds: range) -> Figures:
    """Of the requests that count, over all seeds: more of them than were measured steady the percentiles."""
    return figures(
        [sample for seed in seeds for sample in samples(preset, measured, seed)[measured.level.counted]]
    )


def samples(preset: Preset, measured: Measured, seed: int) -> list[Sample]:
    """Of every request, in the order in which they were sent."""
    arrivals = [Arrival(0.0, sample.prompt_tokens, sample.output_tokens) for sample in measured.samples]
    served = simulate(preset, arrivals, Random(seed), in_flight=measured.level.concurrency).served
    return [_sample(one) for one in served]


def _sample(served: Served) -> Sample:
    tokens = len(served.token_times_s)
    return Sample(served.prompt_tokens, tokens, served.first_token_s, served.decode_s / max(tokens - 1, 1))
