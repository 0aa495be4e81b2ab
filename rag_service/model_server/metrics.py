"""`/metrics` under the names, labels and buckets of vLLM 0.32's V1 engine.

Gauges and totals are read from the engine when somebody looks. Histograms count as the engine goes, a step at
a time: all sequences of a step share the time since the last one, so a batch of 200 is one observation of
weight 200. That keeps metrics out of the cost of a token, which prometheus-client's own histograms, with a
lock for every observation, would be a good part of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from rag_service.model_server.engine import Ended, Engine
from rag_service.model_server.scheduler import Step

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0),
    *(80.0, 160.0, 640.0, 2560.0),
)
_TOKEN_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0),
    80.0,
)
_REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0),
    *(960.0, 1920.0, 7680.0),
)
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_PREEMPTIONS = (1, 2, 3, 4, 5, 10, 20)
#: Why a request may end; the last two never happen here, and dashboards ask for them all the same.
_REASONS = ("stop", "length", "abort", "error", "repetition")


class Histogram:
    """Counts by bucket; `observe` takes many equal values at once."""

    __slots__ = ("_bounds", "_counts", "_sum", "meaning", "name")

    def __init__(self, name: str, meaning: str, bounds: Iterable[float]) -> None:
        self.name = name
        self.meaning = meaning
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def family(self, labels: Mapping[str, str]) -> Metric:
        family = HistogramMetricFamily(self.name, self.meaning, labels=list(labels))
        bounds = (*map(floatToGoString, self._bounds), "+Inf")
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        family.add_metric(list(labels.values()), buckets, self._sum)
        return family


class Metrics(Collector):
    """Watches one engine. `text` is the page."""

    def __init__(self, engine: Engine, model: str) -> None:
        self._engine = engine
        self._labels = {"model_name": model, "engine": "0"}
        lengths = tuple(_one_two_five(engine.limits.max_model_len))
        self._first_token = Histogram(
            "vllm:time_to_first_token_seconds", "From arrival to the first token.", _FIRST_TOKEN_S
        )
        self._between_tokens = Histogram(
            "vllm:inter_token_latency_seconds", "From one token to the next.", _TOKEN_S
        )
        self._per_token = Histogram(
            "vllm:request_time_per_output_token_seconds", "A request's mean time per token.", _TOKEN_S
        )
        self._whole = Histogram("vllm:e2e_request_latency_seconds", "From arrival to the end.", _REQUEST_S)
        self._queued = Histogram("vllm:request_queue_time_seconds", "Until a place was free.", _REQUEST_S)
        self._inference = Histogram(
            "vllm:request_inference_time_seconds", "From the place to the last token.", _REQUEST_S
        )
        self._prefill = Histogram(
            "vllm:request_prefill_time_seconds", "From the place to the first token.", _REQUEST_S
        )
        self._decode = Histogram(
            "vllm:request_decode_time_seconds", "From the first token to the last.", _REQUEST_S
        )
        self._read = Histogram("vllm:request_prompt_tokens", "Tokens of a request's prompt.", lengths)
        self._given = Histogram("vllm:request_generation_tokens", "Tokens of a request's answer.", lengths)
        self._step_tokens = Histogram("vllm:iteration_tokens_total", "Tokens in a step.", _STEP_TOKENS)
        self._preempted = Histogram(
            "vllm:request_num_preemptions", "How often a request lost its place.", _PREEMPTIONS
        )
        self._computed = Histogram(
            "vllm:request_prefill_kv_computed_tokens", "Prompt tokens that no cache held.", lengths
        )
        self._histograms = (
            *(self._first_token, self._between_tokens, self._per_token, self._whole, self._queued),
            *(self._inference, self._prefill, self._decode, self._read, self._given, self._step_tokens),
            *(self._preempted, self._computed),
        )
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def began(self, waited_s: float) -> None:
        """A generation got its first token."""
        self._first_token.observe(waited_s)

    def stepped(self, step: Step, took_s: float, gave: int) -> None:
        """A step is done; who decoded waited for its token since the last step."""
        self._step_tokens.observe(step.prefill_tokens + len(step.decoding))
        if step.decoding and gave:
            self._between_tokens.observe(took_s, min(gave, len(step.decoding)))

    def ended(self, ended: Ended) -> None:
        """A generation is over. Like vLLM, only those that were not given up count as a request's times."""
        if ended.reason == "abort" or None in (ended.admitted_s, ended.first_token_s, ended.last_token_s):
            return
        assert ended.admitted_s is not None
        assert ended.first_token_s is not None
        assert ended.last_token_s is not None
        decode_s = ended.last_token_s - ended.first_token_s
        self._whole.observe(ended.ended_s - ended.arrived_s)
        self._queued.observe(ended.admitted_s - ended.arrived_s)
        self._inference.observe(ended.last_token_s - ended.admitted_s)
        self._prefill.observe(ended.first_token_s - ended.admitted_s)
        self._decode.observe(decode_s)
        if ended.output_tokens > 1:
            self._per_token.observe(decode_s / (ended.output_tokens - 1))
        self._read.observe(ended.prompt_tokens)
        self._given.observe(ended.output_tokens)
        self._preempted.observe(ended.preemptions)
        self._computed.observe(ended.prompt_tokens - ended.cached_tokens)

    def collect(self) -> Iterator[Metric]:
        engine, load = self._engine, self._engine.load
        yield self._gauge("vllm:num_requests_running", "Requests that have a place.", load.running)
        yield self._gauge("vllm:num_requests_waiting", "Requests that wait for a place.", load.waiting)
        yield self._gauge(
            "vllm:kv_cache_usage_perc", "Used share of the KV cache, 0 to 1.", engine.kv_cache_used_ratio
        )
        yield self._counter(
            "vllm:prefix_cache_queries", "Prompt tokens looked up in the cache.", engine.prompt_tokens
        )
        yield self._counter(
            "vllm:prefix_cache_hits", "Prompt tokens found in the cache.", engine.cached_tokens
        )
        yield self._counter("vllm:num_preemptions", "Requests that lost their place.", engine.preemptions)
        yield self._counter("vllm:prompt_tokens", "Prompt tokens read.", engine.prompt_tokens)
        yield self._counter("vllm:prompt_tokens_cached", "Prompt tokens not computed.", engine.cached_tokens)
        yield self._prompt_tokens_by_source()
        yield self._counter("vllm:generation_tokens", "Tokens generated.", engine.generation_tokens)
        yield self._finished()
        for histogram in self._histograms:
            yield histogram.family(self._labels)
        yield self._cache_config()

    def _gauge(self, name: str, meaning: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, meaning, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _counter(self, name: str, meaning: str, value: float) -> Metric:
        family = CounterMetricFamily(name, meaning, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _finished(self) -> Metric:
        family = CounterMetricFamily(
            "vllm:request_success", "Requests by how they ended.", labels=[*self._labels, "finished_reason"]
        )
        for reason, number in (dict.fromkeys(_REASONS, 0) | self._engine.finished).items():
            family.add_metric([*self._labels.values(), reason], number)
        return family

    def _prompt_tokens_by_source(self) -> Metric:
        family = CounterMetricFamily(
            "vllm:prompt_tokens_by_source",
            "Prompt tokens by where they came from.",
            labels=[*self._labels, "source"],
        )
        cached = self._engine.cached_tokens
        computed = self._engine.prompt_tokens - cached
        for source, number in (("local_compute", computed), ("local_cache_hit", cached)):
            family.add_metric([*self._labels.values(), source], number)
        return family

    def _cache_config(self) -> Metric:
        """Facts as labels: what load balancers that know vLLM read once."""
        limits = self._engine.limits
        facts = {
            "block_size": str(limits.block_tokens),
            "num_gpu_blocks": str(limits.kv_blocks),
            "enable_prefix_caching": str(limits.prefix_caching),
            "engine": "0",
        }
        family = GaugeMetricFamily("vllm:cache_config_info", "The KV cache's settings.", labels=list(facts))
        family.add_metric(list(facts.values()), 1)
        return family


def _one_two_five(most: int) -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, … up to `most`."""
    unit = 1
    while True:
        for value in (unit, 2 * unit, 5 * unit):
            if value > most:
                return
            yield value
        unit *= 10
