"""A step costs what its parts cost, within the jitter."""

from dataclasses import replace
from random import Random

import pytest

from rag_service.model_server.cost import Cost

COST = Cost(
    base_s=0.007, prefill_token_s=0.00002, decode_sequence_s=0.00004, request_s=0.02, prompt_token_s=1e-6
)


def test_a_step_costs_its_base_its_prompt_tokens_and_its_decoding_sequences() -> None:
    """Nothing else: an empty place is free."""
    assert COST.step_s(200, 10, Random(0)) == pytest.approx(0.007 + 0.004 + 0.0004)
    assert COST.overhead_s(1000, 0, Random(0)) == pytest.approx(0.021)


def test_a_request_may_cost_more_the_more_others_run() -> None:
    """Only where that was measured: a preset without the figure has it at 0."""
    assert COST.overhead_s(1000, 30, Random(0)) == COST.overhead_s(1000, 0, Random(0))
    shared = replace(COST, request_sequence_s=0.0005)
    assert shared.overhead_s(1000, 30, Random(0)) == pytest.approx(0.021 + 0.015)


def test_durations_stay_within_the_jitter_and_have_the_mean_that_was_asked_for() -> None:
    """Ten per cent either way, and no drift over many steps."""
    cost, random = Cost(base_s=0.008, jitter_ratio=0.1), Random(1)
    drawn = [cost.step_s(0, 1, random) for _ in range(5000)]
    assert 0.0072 <= min(drawn) < 0.0073 and 0.0087 < max(drawn) <= 0.0088
    assert abs(sum(drawn) / len(drawn) - 0.008) < 0.0001


def test_the_same_seed_gives_the_same_durations() -> None:
    """A run can be repeated; another seed differs."""
    cost = Cost(base_s=1.0, jitter_ratio=0.1)
    first, again, other = (cost.step_s(0, 1, Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"base_s": 0.0}, "base_s is 0"),
        ({"base_s": -1.0}, "base_s is -1.0"),
        ({"base_s": 1.0, "prefill_token_s": float("nan")}, "prefill_token_s is nan"),
        ({"base_s": 1.0, "request_s": float("inf")}, "request_s is inf"),
        ({"base_s": 1.0, "jitter_ratio": 1.0}, "at most 0.9"),
    ],
)
def test_a_cost_that_no_machine_has_is_refused(wrong: dict[str, float], said: str) -> None:
    """The field and its value are named."""
    with pytest.raises(ValueError, match=said):
        Cost(**wrong)
