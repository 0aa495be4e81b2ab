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
    wanted = levels((1, 8, 32), Range(32, 512), Range(8, 32), 40, seed=3)
    return [measured_of(TRUE, level) for level in wanted]


def test_the_figures_and_the_cost_come_back(measured: list[Measured]) -> None:
    """Every percentile within 10 %; the cost of a step and a prompt within a fifth.

    What a decoding sequence costs is hard to tell from what others' prompts cost with few requests.
    """
    start = Preset("fitted", "t", "t", replace(TRUE, base_s=1.0), LIMITS)
    preset, _ = fitted(start, measured)
    found = compare(
        [
            Levels(one.level.concurrency, one.figures, simulated(preset, one, range(50, 52)))
            for one in measured
        ]
    )
    assert found.worst.error_ratio < 0.1, found.worst
    for name, ratio in (("base_s", 0.2), ("request_s", 0.3), ("decode_sequence_s", 0.4)):
        assert getattr(preset.cost, name) == pytest.approx(getattr(TRUE, name), rel=ratio), name
    # A prompt's two costs are nearly one from outside: their sum is what a first token shows.
    prompt_token_s = preset.cost.prefill_token_s + preset.cost.prompt_token_s
    assert prompt_token_s == pytest.approx(TRUE.prefill_token_s + TRUE.prompt_token_s, rel=0.2)
    assert preset.limits == LIMITS


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
