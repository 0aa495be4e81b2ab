"""`/metrics` has vLLM's names and labels, and counts what happened."""

import math
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rag_service.model_server import presets
from rag_service.model_server.engine import Engine
from rag_service.model_server.metrics import Histogram, Metrics

NAMES = {
    *("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"),
    *("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:num_preemptions_total"),
    *("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:request_success_total"),
    *("vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_count"),
    *("vllm:e2e_request_latency_seconds_sum", "vllm:request_queue_time_seconds_bucket"),
    *("vllm:request_prefill_time_seconds_sum", "vllm:request_decode_time_seconds_sum"),
    *("vllm:request_inference_time_seconds_sum", "vllm:request_time_per_output_token_seconds_count"),
    *("vllm:request_prompt_tokens_sum", "vllm:request_generation_tokens_sum"),
    *("vllm:iteration_tokens_total_sum", "vllm:cache_config_info", "vllm:prompt_tokens_cached_total"),
    *("vllm:prompt_tokens_by_source_total", "vllm:request_num_preemptions_bucket"),
    "vllm:request_prefill_kv_computed_tokens_bucket",
}
_TOLD_APART = ("le", "finished_reason", "source")


def _observed() -> tuple[Engine, Metrics]:
    engine = Engine(presets.load(presets.DEFAULT), Random(1))
    metrics = Metrics(engine, "m")
    engine.observer = metrics
    return engine, metrics


def _samples(metrics: Metrics) -> dict[str, float]:
    """Values by name; buckets by name and bound."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key in _TOLD_APART}
            found[" ".join([sample.name, *labels.values()])] = sample.value
            if sample.name.startswith("vllm:") and sample.name != "vllm:cache_config_info":
                assert (sample.labels["model_name"], sample.labels["engine"]) == ("m", "0")
    return found


def test_every_name_is_there_from_the_start() -> None:
    """A dashboard shows zero, not a gap."""
    samples = _samples(_observed()[1])
    assert {name.partition(" ")[0] for name in samples} >= NAMES
    for reason in ("stop", "length", "abort", "error", "repetition"):
        assert samples[f"vllm:request_success_total {reason}"] == 0


def test_what_an_answer_was_is_counted(run: Callable[..., Any]) -> None:
    """Twice the same prompt: its full blocks are found in the cache the second time."""
    engine, metrics = _observed()
    prompt = [str(number) for number in range(40)]

    async def ask_twice() -> None:
        for _ in range(2):
            async with engine.generate(prompt, 10) as generation:
                async for _ in generation:
                    samples = _samples(metrics)
                    assert samples["vllm:num_requests_running"] == (generation.taken < 10)
                    assert samples["vllm:time_to_first_token_seconds_count"] >= 1, "as soon as it came"

    run(ask_twice())
    samples = _samples(metrics)
    assert samples["vllm:prompt_tokens_total"] == 80
    assert samples["vllm:generation_tokens_total"] == 20
    assert samples["vllm:prefix_cache_queries_total"] == 80
    assert samples["vllm:prefix_cache_hits_total"] == samples["vllm:prompt_tokens_cached_total"] == 32
    assert samples["vllm:prompt_tokens_by_source_total local_compute"] == 48
    assert samples["vllm:prompt_tokens_by_source_total local_cache_hit"] == 32
    assert samples["vllm:request_prefill_kv_computed_tokens_sum"] == 48
    assert (
        samples["vllm:request_num_preemptions_count"],
        samples["vllm:request_num_preemptions_sum"],
    ) == (2, 0)
    assert samples["vllm:request_success_total stop"] == 2
    assert samples["vllm:time_to_first_token_seconds_count"] == 2
    assert 0.14 < samples["vllm:time_to_first_token_seconds_sum"] < 0.18
    assert samples["vllm:inter_token_latency_seconds_count"] == 18
    assert math.isclose(samples["vllm:inter_token_latency_seconds_sum"], 18 * 0.008, rel_tol=0.1)
    assert samples["vllm:e2e_request_latency_seconds_count"] == 2
    assert samples["vllm:request_time_per_output_token_seconds_bucket 0.01"] == 2
    assert samples["vllm:num_requests_running"] == samples["vllm:kv_cache_usage_perc"] == 0


def test_a_generation_that_was_left_is_an_abort(run: Callable[..., Any]) -> None:
    """It has no duration; tokens that came are counted all the same."""
    engine, metrics = _observed()

    async def leave() -> None:
        async with engine.generate(["a"], 10) as generation:
            await anext(generation)

    run(leave())
    samples = _samples(metrics)
    assert samples["vllm:request_success_total abort"] == 1
    assert samples["vllm:e2e_request_latency_seconds_count"] == 0
    assert samples["vllm:generation_tokens_total"] == samples["vllm:time_to_first_token_seconds_count"] == 1


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(1, 5))))
def test_a_histogram_puts_each_value_into_the_buckets_that_hold_it(values: list[tuple[float, int]]) -> None:
    """A value on a bound is within it; the last bucket holds all."""
    bounds = (0.5, 1.0, 10.0)
    histogram = Histogram("h", "meaning", bounds)
    for value, count in values:
        histogram.observe(value, count)
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in histogram.family({"a": "b"}).samples
    }
    for bound in (*bounds, math.inf):
        label = "+Inf" if bound == math.inf else str(bound)
        held = sum(count for value, count in values if value <= bound)
        assert samples["h_bucket", label] == held
    assert samples["h_count", None] == sum(count for _, count in values)
