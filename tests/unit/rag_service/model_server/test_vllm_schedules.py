"""The simulator's scheduler decides, step for step, what vLLM's own decided on the same requests.

`record_vllm_schedules.py` made the file with vLLM 0.32's scheduler: who came, who hung up (before a step and
in it), and how many tokens of whom were computed in each step.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rag_service.model_server.kv_cache import block_hashes
from rag_service.model_server.scheduler import Limits, Load, Scheduler, Sequence

RECORDED = json.loads(Path(__file__).with_name("vllm_schedules.json").read_text("utf-8"))
RUNS: dict[str, dict[str, Any]] = RECORDED["runs"]


def _prompt(number: int, length: int, family: int, shared: int) -> list[tuple[str, int, int]]:
    """Prompts of a family begin alike, for `shared` tokens."""
    begin = [("family", family, i) for i in range(shared)]
    return begin + [("own", number, i) for i in range(length - shared)]


def _differs_at(run: dict[str, Any], limits: Limits) -> tuple[int | None, int]:
    """The first step in which somebody computes another number of tokens, if any, and all preemptions."""
    scheduler = Scheduler(limits)
    sequences: list[Sequence] = []
    for at, step in enumerate(run["steps"]):
        for length, output, family, shared in step.get("came", ()):
            prompt = _prompt(len(sequences), length, family, shared)
            sequences.append(Sequence(length, output, block_hashes(prompt, limits.block_tokens)))
            scheduler.submit(sequences[-1])
        for number in step.get("left", ()):
            scheduler.abort(sequences[number])
        planned = scheduler.plan()
        numbers = {sequence: str(number) for number, sequence in enumerate(sequences)}
        computed = {numbers[one]: tokens for one, tokens in planned.prefills}
        computed |= {numbers[one]: 1 for one in planned.decoding}
        for number in step.get("left_within", ()):
            scheduler.abort(sequences[number])
        scheduler.finish(planned)
        if computed != step.get("computed", {}) or scheduler.load != Load(*step["load"]):
            return at, sum(one.preemptions for one in sequences)
    assert scheduler.load == Load(0, 0)
    assert scheduler.kv_cache.available == limits.kv_blocks
    return None, sum(one.preemptions for one in sequences)


@pytest.mark.parametrize("name", RUNS)
def test_every_step_is_vllms(name: str) -> None:
    """The same sequences, the same tokens, the same numbers that run and wait, until all is served."""
    run = RUNS[name]
    differs_at, preemptions = _differs_at(run, Limits(**run["limits"]))
    assert differs_at is None
    assert (preemptions > 0) is ("short of blocks" in name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("chunked", {"max_num_batched_tokens": 49}),
        ("chunked", {"max_num_seqs": 5}),
        ("chunked, short of blocks", {"kv_blocks": 25}),
        ("whole", {"chunked_prefill": True}),
        ("chunked, prefix cache", {"prefix_caching": False}),
    ],
)
def test_another_limit_is_seen(name: str, other: dict[str, int]) -> None:
    """The recorded requests reach every rule: change one limit, and a step differs."""
    run = RUNS[name]
    differs_at, _ = _differs_at(run, Limits(**run["limits"] | other))
    assert differs_at is not None
