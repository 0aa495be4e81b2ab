"""Minutes of a busy server in no time, and the shapes that a busy server has."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random
from statistics import quantiles
from typing import Any

import pytest

from rag_service.model_server.cost import Cost
from rag_service.model_server.kv_cache import block_hashes
from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import Limits
from rag_service.model_server.virtual import Arrival, Simulation, simulate

COST = Cost(base_s=0.01, prefill_token_s=0.0001, decode_sequence_s=0.001)


def _preset(cost: Cost = COST, **limits: Any) -> Preset:
    usual = {"max_num_seqs": 8, "max_num_batched_tokens": 512, "max_model_len": 512, "kv_blocks": 400}
    return Preset("test", "t", "s", cost, Limits(**usual | limits))


def _served(preset: Preset, arrivals: Iterable[Arrival], **more: Any) -> Simulation:
    return simulate(preset, arrivals, Random(0), **more)


def test_one_request_takes_its_overhead_its_prompt_and_its_steps() -> None:
    """Every term of the cost, once."""
    cost = Cost(
        base_s=0.01, prefill_token_s=0.0001, decode_sequence_s=0.001, request_s=0.02, prompt_token_s=0.0001
    )
    (served,) = _served(_preset(cost), [Arrival(5.0, 100, 3)]).served
    first_s = 5.0 + 0.02 + 100 * 0.0001 + 0.01 + 100 * 0.0001
    assert served.token_times_s == pytest.approx([first_s, first_s + 0.011, first_s + 0.022])
    assert (served.arrived_s, served.admitted_s) == (5.0, 5.0)
    assert served.first_token_s == pytest.approx(first_s - 5.0)
    assert served.decode_s == pytest.approx(0.022)


def test_the_more_decode_the_slower_each_of_them() -> None:
    """The time between tokens grows with the batch."""

    def token_s(callers: int) -> float:
        run = _served(_preset(), [Arrival(0.0, 10, 50)] * callers)
        return run.served[0].decode_s / 49

    assert token_s(1) == pytest.approx(0.011)
    assert token_s(8) == pytest.approx(0.018)


def test_callers_who_wait_for_their_answers_bound_what_is_under_way() -> None:
    """Two callers, six requests that were wanted at once: each is sent when an answer has come."""
    served = _served(_preset(), [Arrival(0.0, 10, 5)] * 6, in_flight=2).served
    ends_s = sorted(one.token_times_s[-1] for one in served)
    assert [one.arrived_s for one in served] == pytest.approx([0.0, 0.0, *ends_s[:4]])
    assert all(one.first_token_s == pytest.approx(0.01 + 20 * 0.0001) for one in served), "nobody queues"


def test_a_full_queue_refuses() -> None:
    """One place, one that waits: of four at once, two are refused."""
    run = _served(_preset(max_num_seqs=1, max_waiting=1), [Arrival(0.0, 10, 5)] * 4)
    assert (len(run.served), run.refused) == (2, 2)


def test_the_same_seed_gives_the_same_run() -> None:
    """Another seed differs, as far as there is jitter."""
    preset = _preset(Cost(base_s=0.01, jitter_ratio=0.1))
    first, again, other = (
        simulate(preset, [Arrival(0.0, 10, 20)] * 4, Random(seed)).served for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_known_prompt_is_answered_sooner() -> None:
    """The second request with the same prompt computes its last block only."""
    hashes = block_hashes(range(160), 16)
    arrivals = [Arrival(at_s, 160, 2, hashes) for at_s in (0.0, 1.0)]
    first, second = _served(_preset(), arrivals).served
    assert (first.first_token_s, second.first_token_s) == pytest.approx((0.026, 0.0116))
    assert (first.cached_tokens, second.cached_tokens) == (0, 144)
    _, uncached = _served(_preset(prefix_caching=False), arrivals).served
    assert uncached.first_token_s == pytest.approx(0.026)


def test_a_few_blocks_too_few_make_a_cliff() -> None:
    """With 4 % less memory the first token takes several times as long (as in BLIS's PR 298)."""

    def p95_s(blocks: int) -> tuple[float, int]:
        preset = _preset(max_num_seqs=64, kv_blocks=blocks, prefix_caching=False)
        served = _served(preset, [Arrival(n / 3.5, 180, 200) for n in range(200)]).served
        assert all(len(one.token_times_s) == 200 for one in served), "preempted answers are whole, too"
        preempted = sum(one.preemptions for one in served)
        return quantiles((one.first_token_s for one in served), n=20)[-1], preempted

    enough_s, none = p95_s(540)
    too_few_s, some = p95_s(518)
    assert none == 0 < some
    assert too_few_s > 4 * enough_s


def test_a_long_prompt_in_chunks_does_not_stop_the_others() -> None:
    """The longest gap between two tokens, while somebody's 480 tokens are computed beside."""

    def longest_gap_s(budget: int, *, chunked: bool) -> float:
        preset = _preset(max_num_batched_tokens=budget, chunked_prefill=chunked)
        first, _ = _served(preset, [Arrival(0.0, 10, 40), Arrival(0.1, 480, 2)]).served
        return max(b - a for a, b in pairwise(first.token_times_s))

    assert longest_gap_s(64, chunked=True) == pytest.approx(0.011 + 63 * 0.0001)
    assert longest_gap_s(512, chunked=False) == pytest.approx(0.011 + 480 * 0.0001)
