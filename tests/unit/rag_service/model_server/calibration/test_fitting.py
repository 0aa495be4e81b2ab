"""A simulator that is calibrated against itself gives its own cost back, in virtual time."""

from dataclasses import replace

import pytest

from rag_service.model_server.calibration.live.comparison import Levels, compare
from rag_service.model_server.calibration.live.figures import Sample
from rag_service.model_server.calibration.live.fitting import first_guess, fitted
from rag_service.model_server.calibration.live.load import Level, Range, levels
from rag_service.model_server.calibration.live.measure import Measured
from rag_service.model_server.calibration.live.simulate import samples, simulated
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import Limits

LIMITS = Limits(max_num_seqs=64, max_num_batched_tokens=2048, max_model_len=4096, kv_blocks=40000)
TRUE = Cost(
    base_s=0.004,
    prefill_token_s=0.00004,
    decode_sequence_s=0.0003,
    request_s=0.006,
    prompt_token_s=0.00001,
    jitter_ratio=0.2,
)


def measured_of(cost: Cost, level: Level) -> Measured:
    """What a client would have measured of a simulator with this cost."""
    asked = tuple(Sample(ask.prompt_tokens, ask.output_tokens, 0.0, 0.0) for ask in level.asks)
    preset = Preset("true", "t", "t", cost, LIMITS)
    return Measured(level, tuple(samples(preset, Measured(level, asked), seed=77)))


@pytest.fixture(scope="module")
def measured() -> list[Measured]:
    wanted = levels((1, 4, 16), Range(32, 512), Range(8, 32), 60, seed=3)
    return [measured_of(TRUE, level) for level in wanted]


def test_the_figures_and_what_they_follow_from_come_back(measured: list[Measured]) -> None:
    """Every percentile within 15 %, and a step's and an unloaded request's time.

    Of so few requests a 95th percentile itself varies by 10 %, and single costs stand in for each other: what
    a decoding sequence costs is hard to tell from what the others' prompts cost.
    """
    start = Preset("fitted", "t", "t", replace(TRUE, base_s=1.0), LIMITS)
    preset, _ = fitted(start, measured, range(1))
    found = compare(
        [
            Levels(one.level.concurrency, one.figures, simulated(preset, one, range(50, 52)))
            for one in measured
        ]
    )
    assert found.worst.error_ratio < 0.15, found.worst
    for time_s in (step_s, unloaded_first_token_s):
        assert time_s(preset.cost) == pytest.approx(time_s(TRUE), rel=0.15), time_s.__name__
    assert preset.limits == LIMITS


def step_s(cost: Cost) -> float:
    """One caller's token."""
    return cost.base_s + cost.decode_sequence_s


def unloaded_first_token_s(cost: Cost) -> float:
    """One caller's first token, for a prompt of 270 tokens."""
    return cost.request_s + cost.base_s + 270 * (cost.prefill_token_s + cost.prompt_token_s)


def test_another_cost_is_told_from_it(measured: list[Measured]) -> None:
    """Negative control: what is not fitted is beyond the tolerance."""
    other = Preset("other", "t", "t", replace(TRUE, base_s=TRUE.base_s * 1.5), LIMITS)
    found = compare(
        [Levels(one.level.concurrency, one.figures, simulated(other, one, range(2))) for one in measured]
    )
    assert len(found.beyond(0.2)) >= 2


def test_the_first_guess_is_of_the_right_size(measured: list[Measured]) -> None:
    """From there a fit finds the way; and nothing starts at 0."""
    guess = first_guess(measured)
    assert guess.base_s == pytest.approx(TRUE.base_s, rel=0.2)
    assert guess.request_s == pytest.approx(TRUE.request_s, rel=0.5)


def test_a_single_level_of_equal_lengths_still_gives_a_guess() -> None:
    """Nothing to draw a line through is no reason to fail."""
    (level,) = levels((4,), Range(64, 64), Range(16, 16), 40, seed=1)
    guess = first_guess([measured_of(TRUE, level)])
    assert min(guess.base_s, guess.prefill_token_s, guess.decode_sequence_s, guess.request_s) > 0.0
