"""The metrics that experiments and autoscalers read: their names, and that they count what happened."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.model_server.live import MAX_NUM_SEQS, TEXT, Live, a_question, eventually

NAMES = {
    "num_requests_running": "gauge",
    "num_requests_waiting": "gauge",
    "kv_cache_usage_perc": "gauge",
    "prompt_tokens": "counter",
    "generation_tokens": "counter",
    "request_success": "counter",
    "num_preemptions": "counter",
    "prefix_cache_queries": "counter",
    "prefix_cache_hits": "counter",
    "time_to_first_token_seconds": "histogram",
    "inter_token_latency_seconds": "histogram",
    "e2e_request_latency_seconds": "histogram",
    "request_queue_time_seconds": "histogram",
    "request_prefill_time_seconds": "histogram",
    "request_decode_time_seconds": "histogram",
    "request_inference_time_seconds": "histogram",
    "request_time_per_output_token_seconds": "histogram",
    "request_prompt_tokens": "histogram",
    "request_generation_tokens": "histogram",
    "request_num_preemptions": "histogram",
    "request_prefill_kv_computed_tokens": "histogram",
    "iteration_tokens_total": "histogram",
    "prompt_tokens_cached": "counter",
    "prompt_tokens_by_source": "counter",
}


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_the_names_are_vllms(server: Live, name: str, kind: str) -> None:
    """Name, type and the label that tells models apart."""
    page = server.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(page.text)}
    family = families[f"vllm:{name}"]
    assert family.type == kind
    assert family.samples
    assert {sample.labels["model_name"] for sample in family.samples} == {server.model}


@pytest.mark.parametrize("stream", [False, True])
def test_answers_are_counted(server: Live, path: str, stream: bool) -> None:
    """Three answers of five tokens: each counter and each histogram has moved by exactly that."""
    names = (
        *("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_count"),
        *("e2e_request_latency_seconds_count", "inter_token_latency_seconds_count"),
    )
    before = {name: server.metric(name) for name in names}
    ended = server.metric("request_success_total", finished_reason="length")
    prompt_tokens = 0
    for _ in range(3):
        question = a_question()
        if stream:
            options = {"include_usage": True}
            last = server.chunks(path, question, max_tokens=5, ignore_eos=True, stream_options=options)[-1]
            prompt_tokens += last["usage"]["prompt_tokens"]
        else:
            answer = server.ask(path, question, max_tokens=5, ignore_eos=True)
            prompt_tokens += answer["usage"]["prompt_tokens"]
    moved = {name: server.metric(name) - value for name, value in before.items()}
    assert moved == {
        "prompt_tokens_total": prompt_tokens,
        "generation_tokens_total": 15,
        "time_to_first_token_seconds_count": 3,
        "e2e_request_latency_seconds_count": 3,
        "inter_token_latency_seconds_count": 12,
    }
    assert server.metric("request_success_total", finished_reason="length") == ended + 3


def test_a_stop_is_counted_as_one(server: Live) -> None:
    """The reason in the metrics is the reason in the answer."""
    before = server.metric("request_success_total", finished_reason="stop")
    text = server.ask(TEXT, question := a_question(), max_tokens=8, ignore_eos=True)["choices"][0]["text"]
    server.ask(TEXT, question, max_tokens=8, ignore_eos=True, stop=text[4:7])
    eventually(
        lambda: server.metric("request_success_total", finished_reason="stop") == before + 1, "counted"
    )


def test_under_load_some_run_and_the_others_wait(server: Live) -> None:
    """As many as have a place run, the rest wait, the cache fills; and all of it goes back."""
    with server.callers(MAX_NUM_SEQS + 2):
        eventually(lambda: (server.running, server.waiting) == (MAX_NUM_SEQS, 2), "full with a queue")
        assert 0 < server.metric("kv_cache_usage_perc") <= 1
    eventually(lambda: server.running + server.waiting == 0, "idle")


def test_a_prompt_that_came_before_is_found_in_the_cache(server: Live, path: str) -> None:
    """Whole blocks of it are hits the second time, none the first."""
    question = a_question() + " word" * 100
    hits = server.metric("prefix_cache_hits_total")
    tokens = server.ask(path, question, max_tokens=1)["usage"]["prompt_tokens"]
    first = server.metric("prefix_cache_hits_total") - hits
    server.ask(path, question, max_tokens=1)
    second = server.metric("prefix_cache_hits_total") - hits - first
    assert first < 0.5 * tokens < second <= tokens
