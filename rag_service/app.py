"""Wiring, and nothing else: settings in, an ASGI application out."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
from fastapi import FastAPI

from rag_service.api import readings
from rag_service.api.admission import Admission, AdmissionPolicy
from rag_service.api.answers import Answers, Patience
from rag_service.api.drain import Drain
from rag_service.api.openai import OpenAIFace
from rag_service.api.operations import Operations, Readiness
from rag_service.api.routes import add_routes
from rag_service.pipeline import Brief, Keeping, Pipeline
from rag_service.resilience.breaker import PROBE_LEASE_S, Breaker, BreakerPolicy, StateChange
from rag_service.resilience.budget import RetryBudget
from rag_service.resilience.bulkhead import Bulkhead
from rag_service.resilience.hedge import Delay, FixedDelay, Hedge, RecentQuantile
from rag_service.resilience.limiter import Bounds as LimiterBounds
from rag_service.resilience.limiter import Kind as LimiterKind
from rag_service.resilience.limiter import Limiter, make_limiter
from rag_service.resilience.policy import Guard, Protection
from rag_service.resilience.retrying import RetryPolicy
from rag_service.segments import generator, vectors
from rag_service.segments.batching import BatchPolicy, MicroBatcher, Vectors
from rag_service.segments.cache import AnswerCache, Bounds
from rag_service.segments.context import ContextBuilder, TokenCounter
from rag_service.segments.embedder import Embedder
from rag_service.segments.generator import GenerationPolicy, Generator
from rag_service.segments.http import Endpoint, make_client
from rag_service.segments.live_corpus import Corpus, CorpusWatch, LiveCorpus
from rag_service.segments.retrieval import Retriever
from rag_service.segments.vectors import VectorSearch
from rag_service.settings import Settings
from rag_service.telemetry.lag import LoopLag
from rag_service.telemetry.metrics import Metrics
from rag_service.telemetry.segments import SegmentMetrics
from rag_service.telemetry.server import RequestSpans
from rag_service.telemetry.tracing import SHUTDOWN_S, Exporters, Telemetry

#: The tutorial service (resilience off) has one timeout, everywhere.
_OFF_TIMEOUT_S = 30.0
_WARM_UP_S = 1.0


class Model(Protocol):
    """What the app needs of the embedding model."""

    failure: BaseException | None

    @property
    def ready(self) -> bool: ...
    async def encode(self, texts: list[str]) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What is loaded before the app is made, or replaced in tests."""

    corpus: Corpus
    model: Model
    tokenizer_file: Path
    exporters: Exporters
    vector_db_transport: httpx.AsyncBaseTransport | None = None
    llm_transport: httpx.AsyncBaseTransport | None = None


class _Builder:
    """Makes each part once; the `off` numbers stand beside the `on` ones, so that both can be compared."""

    def __init__(self, settings: Settings, parts: Parts, telemetry: Telemetry, metrics: Metrics) -> None:
        self.settings = settings
        self.parts = parts
        self.telemetry = telemetry
        self.metrics = metrics
        self.on = settings.protected
        self.reserve_s = settings.fallback_reserve_s if self.on else 0.0
        self.live = LiveCorpus(parts.corpus)
        self.model_limit = self._limiter(settings.generate.limiter, settings.generate.max_in_flight)
        self.breakers: list[Breaker] = []
        self.guards: list[Guard] = []
        self.batchers: list[MicroBatcher] = []
        self.clients: list[httpx.AsyncClient] = []

    def guard(
        self,
        name: str,
        *,
        slow_call_s: float,
        attempt_s: float,
        attempts: int,
        limit: int | Limiter,
        max_retry_after_s: float = 0.0,
        hedge: Hedge | None = None,
    ) -> Guard:
        if not self.on:
            return Guard(name, None, tracer=self.telemetry.tracer)
        breaker_settings, retry = self.settings.breaker, self.settings.retry
        policy = BreakerPolicy(
            window_s=breaker_settings.window_s,
            min_calls=breaker_settings.min_calls,
            failure_ratio=breaker_settings.failure_ratio,
            slow_call_s=slow_call_s,
            slow_ratio=breaker_settings.slow_ratio,
            open_s=breaker_settings.open_s,
            max_open_s=breaker_settings.max_open_s,
            probes=breaker_settings.probes,
            probe_lease_s=max(PROBE_LEASE_S, 2.0 * attempt_s, 2.0 * slow_call_s),
        )
        breaker = Breaker(name, policy, rng=random.Random(), on_change=self._breaker_changed)
        self.breakers.append(breaker)
        protection = Protection(
            breaker=breaker,
            bulkhead=Bulkhead(name, limit),
            budget=self._budget(retry.budget_ratio, retry.budget_minimum),
            retry=RetryPolicy(
                attempts=attempts,
                min_wait_s=retry.min_wait_s,
                max_wait_s=retry.max_wait_s,
                max_retry_after_s=max_retry_after_s,
                reserve_s=self.settings.fallback_reserve_s,
            ),
            hedge=hedge,
        )
        guard = Guard(name, protection, tracer=self.telemetry.tracer)
        self.guards.append(guard)
        return guard

    def _budget(self, ratio: float, minimum: int) -> RetryBudget:
        window_s = self.settings.retry.budget_window_s
        return RetryBudget(ratio=ratio, minimum=minimum, window_s=window_s, clock=time.monotonic)

    def _hedge(self) -> Hedge | None:
        search = self.settings.search
        if search.hedge_after_s == 0.0:
            return None
        delay: Delay = FixedDelay(search.hedge_after_s)
        if search.hedge_p95:
            delay = RecentQuantile(floor_s=search.hedge_after_s, cap_s=search.attempt_s)
        return Hedge(delay, self._budget(search.hedge_ratio, 1), clock=time.monotonic)

    def _limiter(self, kind: str, most: int) -> Limiter:
        """A limit that starts small and stays between 2 and `most`."""
        bounds = LimiterBounds(start=min(20, most), minimum=min(2, most), maximum=most)
        first_token_s = self.settings.generate.first_token_s
        return make_limiter(LimiterKind(kind), bounds, clock=time.monotonic, timeout_s=first_token_s)

    def _breaker_changed(self, change: StateChange) -> None:
        self.metrics.breaker_changed(change.name, change.new)
        self.telemetry.breaker_changed(
            name=change.name, previous=change.previous, new=change.new, seq=change.seq, cause=change.cause
        )

    def embedder(self) -> Embedder:
        embed = self.settings.embed
        policy = BatchPolicy(
            max_batch=embed.max_batch,
            max_characters=embed.max_batch_characters,
            linger_s=embed.linger_s,
            queue_deadline_s=embed.queue_deadline_s if self.on else None,
            max_queue=embed.max_queue if self.on else None,
        )
        batcher = MicroBatcher(self.parts.model.encode, policy, time.monotonic)
        self.batchers.append(batcher)
        attempt_s = embed.attempt_s if self.on else _OFF_TIMEOUT_S
        return Embedder(batcher, attempt_s=attempt_s, reserve_s=self.reserve_s, tracer=self.telemetry.tracer)

    def retriever(self) -> Retriever:
        settings, search = self.settings, self.settings.search
        endpoint = Endpoint(settings.vector_db_url.rstrip("/"), settings.vector_db_address)
        client = make_client(
            endpoint,
            connect_s=search.connect_s if self.on else _OFF_TIMEOUT_S,
            max_connections=search.max_in_flight * 2 if self.on else 100,
            transport=self.parts.vector_db_transport,
        )
        self.clients.append(client)
        guard = self.guard(
            vectors.NAME,
            slow_call_s=settings.breaker.slow_search_s,
            attempt_s=search.attempt_s,
            attempts=search.attempts,
            limit=search.max_in_flight,
            hedge=self._hedge(),
        )
        vector_search = VectorSearch(
            client,
            endpoint,
            guard,
            attempt_s=search.attempt_s if self.on else _OFF_TIMEOUT_S,
            reserve_s=self.reserve_s,
            tracer=self.telemetry.tracer,
        )
        return Retriever(self.live, vector_search, tracer=self.telemetry.tracer)

    def generator(self) -> Generator:
        settings, generate = self.settings, self.settings.generate
        endpoint = Endpoint(settings.llm_url.rstrip("/"), settings.llm_address)
        client = make_client(
            endpoint,
            connect_s=generate.connect_s if self.on else _OFF_TIMEOUT_S,
            max_connections=generate.max_in_flight * 2 if self.on else 100,
            transport=self.parts.llm_transport,
        )
        self.clients.append(client)
        guard = self.guard(
            generator.NAME,
            slow_call_s=settings.breaker.slow_first_token_s,
            attempt_s=generate.first_token_s,
            attempts=generate.attempts,
            limit=self.model_limit,
            max_retry_after_s=settings.retry.max_retry_after_s,
        )
        policy = GenerationPolicy(
            first_token_s=generate.first_token_s if self.on else _OFF_TIMEOUT_S,
            token_gap_s=generate.token_gap_s if self.on else _OFF_TIMEOUT_S,
            reserve_s=self.reserve_s,
            max_tokens=generate.max_tokens,
        )
        return Generator(
            client,
            endpoint,
            guard,
            policy,
            model=settings.llm_model,
            tracer=self.telemetry.tracer,
            clock=time.monotonic,
        )

    def context(self) -> ContextBuilder:
        context = self.settings.context
        return ContextBuilder(
            TokenCounter(self.parts.tokenizer_file),
            max_documents=context.max_documents,
            max_tokens=context.max_tokens,
            tracer=self.telemetry.tracer,
        )

    def admission(self) -> Admission:
        chosen = self.settings.admission
        slow_s = min(self.settings.breaker.slow_first_token_s, self.settings.generate.first_token_s)
        policy = AdmissionPolicy(chosen.max_wait_s, chosen.brief_above, chosen.retry_after_s, slow_s)
        limiter = self._limiter(chosen.limiter, chosen.max_in_flight) if self.on else None
        return Admission(
            limiter, policy, model_limit=self.model_limit, clock=time.monotonic, rng=random.Random()
        )

    def keeping(self) -> Keeping | None:
        """The answer cache; none where it is never asked."""
        cache = self.settings.cache
        if cache.when == "never" or not self.on:
            return None
        bounds = Bounds(cache.max_entries, cache.max_bytes, cache.ttl_s)
        answers = AnswerCache(bounds, min_similarity=cache.min_similarity, clock=time.monotonic)
        return Keeping(answers, self.settings.llm_model, first=cache.when == "always")


async def _warm(client: httpx.AsyncClient) -> None:
    """Pay httpx's lazy imports (some 100 ms) now: in a first search they would pass for a slow vector DB."""
    with contextlib.suppress(httpx.HTTPError):
        await client.get("health", timeout=_WARM_UP_S)


def create_app(settings: Settings, parts: Parts) -> FastAPI:
    """The service. On shutdown it closes its connections and flushes its telemetry."""
    metrics = Metrics()
    telemetry = Telemetry(parts.exporters, [SegmentMetrics(metrics)])
    builder = _Builder(settings, parts, telemetry, metrics)
    keeping = builder.keeping()
    pipeline = Pipeline(
        builder.embedder(),
        builder.retriever(),
        builder.context(),
        builder.generator(),
        ladder=builder.on,
        brief=Brief(settings.context.brief_documents, settings.generate.brief_max_tokens),
        keeping=keeping,
    )
    admission = builder.admission()
    patience = Patience(
        settings.deadline_s if builder.on else None, settings.max_deadline_s, settings.body_timeout_s
    )
    drain = Drain()
    lag = LoopLag(metrics.loop_lag_seconds.observe)
    metrics.watch(lambda: readings.of_guards(builder.breakers, builder.guards))
    metrics.watch(lambda: readings.of_admission(admission, drain))
    metrics.watch(lambda: (reading for one in builder.batchers for reading in readings.of_embedder(one)))
    if keeping is not None:
        metrics.watch(lambda: readings.of_cache(keeping.cache))
    metrics.watch(lambda: readings.of_loop(lag))
    metrics.watch(lambda: readings.of_telemetry(telemetry))

    def readiness() -> Readiness:
        waiting_for = () if parts.model.ready else ("embedder",)
        return Readiness(
            waiting_for, repr(parts.model.failure) if parts.model.failure else None, live=builder.live
        )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = CorpusWatch(builder.live, settings.index_dir, every_s=settings.corpus_poll_s)
        watching = asyncio.create_task(watch.run(), name="corpus watch")
        sampling = asyncio.create_task(lag.run(), name="event loop lag")
        await asyncio.gather(*(_warm(client) for client in builder.clients))
        yield
        sampling.cancel()
        watching.cancel()
        for client in builder.clients:
            await client.aclose()
        telemetry.shutdown(limit_s=SHUTDOWN_S)

    # No pages of documentation: they would load scripts from elsewhere. docs/reference/api.md is the page.
    app = FastAPI(title="ragquake reference RAG service", lifespan=lifespan, docs_url=None, redoc_url=None)
    add_routes(
        app,
        Answers(pipeline, admission, patience, metrics, drain),
        Operations(readiness, builder.breakers, drain, metrics, telemetry),
        OpenAIFace(settings.llm_model),
    )
    app.add_middleware(RequestSpans, telemetry=telemetry)
    app.state.telemetry = telemetry
    app.state.drain = drain
    app.state.model = parts.model
    app.state.live = builder.live
    app.state.live_corpus = builder.live
    return app
