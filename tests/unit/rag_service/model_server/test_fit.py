"""A fit finds the cost that made what it is shown."""

import math
from dataclasses import replace
from random import Random
from statistics import fmean

import pytest

from rag_service.model_server.calibration.fit import fit
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import Limits
from rag_service.model_server.virtual import Arrival, simulate

TRUE = Cost(
    base_s=0.007, prefill_token_s=0.00002, decode_sequence_s=0.0002, request_s=0.015, jitter_ratio=0.1
)
LIMITS = Limits(max_num_seqs=64, max_num_batched_tokens=2048, max_model_len=2048, kv_blocks=4000)
NAMES = ("base_s", "prefill_token_s", "decode_sequence_s", "request_s")


def _figures(cost: Cost) -> list[float]:
    """First token and time per token at 1, 8 and 32 callers, with short and long prompts."""
    found = []
    for callers, prompt_tokens in ((1, 20), (8, 200), (32, 1000)):
        arrivals = [Arrival(0.0, prompt_tokens, 20)] * (callers * 4)
        served = simulate(Preset("t", "t", "t", cost, LIMITS), arrivals, Random(1), in_flight=callers).served
        found.append(fmean(one.first_token_s for one in served))
        found.append(fmean(one.decode_s for one in served) / 19)
    return found


def test_the_cost_behind_a_measurement_is_found() -> None:
    """From a first guess that is off by half, to a few per cent; jitter is not among the names and stays."""
    measured = _figures(TRUE)

    def missed(cost: Cost) -> list[float]:
        return [math.log(now / was) for now, was in zip(_figures(cost), measured, strict=True)]

    guess = replace(TRUE, base_s=0.01, prefill_token_s=0.00003, decode_sequence_s=0.0001, request_s=0.03)
    found = fit(guess, NAMES, missed)
    for name in NAMES:
        assert getattr(found.cost, name) == pytest.approx(getattr(TRUE, name), rel=0.05), name
    assert found.cost.jitter_ratio == TRUE.jitter_ratio
    assert found.error_ratio < 0.01 < math.sqrt(fmean(error**2 for error in missed(guess)))


def test_a_parameter_that_starts_at_nothing_is_refused() -> None:
    """No factor leads away from 0."""
    with pytest.raises(ValueError, match="prompt_token_s starts at 0"):
        fit(TRUE, ("base_s", "prompt_token_s"), lambda _: [0.0])
