"""Texts of questions and answers that try to get into a bundle from which they are to be left out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from chaos.run.options import RunOptions
from journeys.attempts import Attempt, AttemptLog
from slo.documents import DocumentError
from slo.receiver import PROTOBUF, Receiver
from slo.redaction import REDACTED, redact_logs, redact_spans
from slo.store import connect

SECRET = "my secret salary"
ONE_WORD = "melanoma"


def value(of: Any) -> AnyValue:
    if isinstance(of, list):
        return AnyValue(array_value=ArrayValue(values=[value(each) for each in of]))
    if isinstance(of, dict):
        pairs = [KeyValue(key=key, value=value(each)) for key, each in of.items()]
        return AnyValue(kvlist_value=KeyValueList(values=pairs))
    kind = {
        bool: "bool_value",
        int: "int_value",
        float: "double_value",
        str: "string_value",
        bytes: "bytes_value",
    }
    return AnyValue(**{kind[type(of)]: of})


def attributes(**of: Any) -> list[KeyValue]:
    return [KeyValue(key=key, value=value(each)) for key, each in of.items()]


def spans(given: dict[str, Any], event: dict[str, Any] | None = None, status: str = "") -> bytes:
    export = ExportTraceServiceRequest()
    span = export.resource_spans.add().scope_spans.add().spans.add()
    span.name, span.trace_id, span.span_id = "chat model", b"1" * 16, b"2" * 8
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    span.attributes.extend(attributes(**given))
    span.events.add(name="event").attributes.extend(attributes(**(event or {})))
    span.status.message = status
    return bytes(export.SerializeToString())


def logs(body: Any, **given: Any) -> bytes:
    export = ExportLogsServiceRequest()
    record = export.resource_logs.add().scope_logs.add().log_records.add()
    record.body.CopyFrom(value(body))
    record.attributes.extend(attributes(**given))
    return bytes(export.SerializeToString())


@pytest.mark.parametrize(
    "key",
    [
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.prompt",
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.content",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "gen_ai.retrieval.query.text",
        "llm.input_messages.0.message.content",
        "llm.output_messages.3.message.content",
        "llm.prompts",
        "input.value",
        "output.value",
        "retrieval.documents.0.document.content",
        "traceloop.entity.input",
        "db.query.text",
        "db.statement",
        "exception.message",
        "question",
        "rag.question",
        "user_query",
        "message",
    ],
)
@pytest.mark.parametrize("text", [SECRET, ONE_WORD])
def test_what_is_known_to_hold_text_goes(key: str, text: str) -> None:
    """Whichever instrumentation the service has, on spans, their events and logs; one word is text, too."""
    assert text.encode() not in redact_spans(spans({key: text}, {key: text}))
    assert text.encode() not in redact_logs(logs("event", **{key: text}))


@pytest.mark.parametrize(
    "hidden",
    [
        SECRET,
        [SECRET],
        [["x", SECRET]],
        {"a": {"b": SECRET}},
        SECRET.encode(),
        f"\t{SECRET}",
        "a\u00a0secret",
    ],
)
def test_a_sentence_goes_wherever_it_hides(hidden: Any) -> None:
    """Under a name that nobody knows, in lists, maps, bytes, the body of a log, the message of an error."""
    for kept in (
        redact_spans(spans({"my.own": hidden}, {"my.own": hidden}, status=SECRET)),
        redact_logs(logs(hidden, **{"my.own": hidden})),
    ):
        assert b"secret" not in kept and REDACTED.encode() in kept


def test_what_verdicts_are_made_of_stays() -> None:
    """The negative control: numbers, states, ids, names and the events of breakers are nobody's words."""
    given = {
        "rag.outcome": "degraded",
        "rag.degraded.segments": ["search"],
        "rag.retrieval.document.ids": ["My notes.md", "json.dumps"],
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.output_tokens": 12,
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.response.finish_reasons": ["stop"],
        "db.collection.name": "stdlib",
        "server.address": "127.0.0.1",
        "http.route": "/v1/answers",
        "openinference.span.kind": "RETRIEVER",
        "error.type": "TimeoutError",
        "ok": True,
    }
    before = spans(given, {"resilience.policy.name": "vector_db", "previous": "closed", "new": "open"})
    assert redact_spans(before) == before
    breaker = logs("resilience.circuit_breaker.state_change", seq=3, cause="failures", new="open")
    assert redact_logs(breaker) == breaker


def test_an_address_keeps_its_path_and_loses_its_question() -> None:
    """A question that travels in a query string is in url.full."""
    assert b"salary" not in redact_spans(spans({"url.full": "http://a/v1?q=salary", "url.query": "q=salary"}))
    assert b"/v1/answers" in redact_spans(spans({"url.full": "http://a/v1/answers"}))


def test_no_text_reaches_the_disk(tmp_path: Path) -> None:
    """Not even the spool, which a killed run leaves behind; and the tap gets what the disk gets."""
    tapped: list[bytes] = []
    with Receiver(tmp_path / "otlp", tap=tapped.append) as receiver:
        receiver.redact()
        for signal, body in (("traces", spans({"x": SECRET})), ("logs", logs(SECRET))):
            url = f"{receiver.endpoint}/v1/{signal}"
            sent = httpx.post(url, content=body, headers={"content-type": PROTOBUF}, trust_env=False)
            assert sent.status_code == 200
        assert (receiver.spans, receiver.logs) == (1, 1)
    (tmp_path / "journal.jsonl").write_text("")
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"secret" not in kept + tapped[0]
    opened = connect(tmp_path)
    assert opened.sql.execute("SELECT SpanAttributes['x'] FROM spans").fetchall() == [(REDACTED,)]
    opened.sql.close()


def test_without_being_asked_nothing_is_taken_away(tmp_path: Path) -> None:
    """The negative control: the same receiver keeps what comes."""
    with Receiver(tmp_path / "otlp") as receiver:
        headers = {"content-type": PROTOBUF}
        httpx.post(f"{receiver.endpoint}/v1/logs", content=logs(SECRET), headers=headers, trust_env=False)
    assert SECRET.encode() in (tmp_path / "otlp" / "logs.binpb").read_bytes()


@pytest.mark.parametrize("redact", [True, False])
def test_an_attempt_keeps_its_question_to_itself(tmp_path: Path, redact: bool) -> None:
    """What recall is judged by, the documents that answer it, stays."""
    attempt = Attempt(
        journey="ask",
        arrival=1,
        step=1,
        phase="p",
        intended_start_s=1.0,
        question=SECRET,
        relevant=["json.dumps"],
    )
    with AttemptLog(tmp_path / "attempts.jsonl", redact=redact) as log:
        log.write(attempt)
    line = json.loads((tmp_path / "attempts.jsonl").read_bytes())
    assert line["question"] == (None if redact else SECRET)
    assert line["relevant"] == ["json.dumps"]


def test_where_it_cannot_be_done_it_is_refused() -> None:
    """Containers write their telemetry themselves; a flag that does nothing there would be believed."""
    with pytest.raises(DocumentError, match="--redact"):
        RunOptions(stack="compose", redact=True)
