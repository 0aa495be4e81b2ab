"""Takes the text of questions and answers out of telemetry, before it is on the disk (`--redact`).

Services differ in where they put text: GenAI and OpenInference instrumentations have attributes for it,
frameworks put it into log lines, errors into their messages. So what is known to hold content goes whatever
it is, and of the rest every text with a blank in it, since names, ids and states have none and sentences do.
Numbers, times and names stay, and they are what verdicts are made from. A span's *name* stays as well: a
service that puts the question there cannot be redacted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

REDACTED = "(redacted)"
_CONTENT = re.compile(
    r"(^|[._])(prompts?|completions?|messages?|questions?|answers?|quer(y|ies)|content|contents|text|input|output"
    r"|statement|system_instructions|arguments|value|body|document|documents|stacktrace)"
    r"(\.\d+)?([._](text|value|content|message|messages|stacktrace|arguments|\d+))*$"
)
"""gen_ai.input.messages, gen_ai.prompt.0.content, llm.input_messages.0.message.content, input.value,
retrieval.documents.0.document.content, db.query.text, db.statement, exception.message, url.query …"""
_PLAIN = re.compile(
    r"(rag|resilience|ragquake|http|network|server|client|service|telemetry|user_agent|error)\..*"
)
"""What may hold a blank and is none of the users' words, such as ids of documents."""
_URL = re.compile(r"(url\.full|http\.(url|target))")


def redact_spans(body: bytes) -> bytes:
    """One export of spans without its texts. Raises google.protobuf's DecodeError for garbage."""
    export = ExportTraceServiceRequest.FromString(body)
    for resource in export.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                _redact_all(span.attributes)
                for part in (*span.events, *span.links):
                    _redact_all(part.attributes)
                if span.status.message:
                    span.status.message = REDACTED
    return bytes(export.SerializeToString())


def redact_logs(body: bytes) -> bytes:
    """One export of log records without its texts. Raises google.protobuf's DecodeError for garbage."""
    export = ExportLogsServiceRequest.FromString(body)
    for resource in export.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                _redact_all(record.attributes)
                if _has_words(record.body):
                    record.body.Clear()
                    record.body.string_value = REDACTED
    return bytes(export.SerializeToString())


def _redact_all(attributes: Iterable[KeyValue]) -> None:
    for each in attributes:
        if _must_go(each.key, each.value):
            each.value.Clear()
            each.value.string_value = REDACTED


def _must_go(key: str, value: AnyValue) -> bool:
    if value.WhichOneof("value") in (None, "int_value", "double_value", "bool_value"):
        return False
    if _URL.fullmatch(key):
        return "?" in value.string_value
    return bool(_CONTENT.search(key)) or (_has_words(value) and not _PLAIN.fullmatch(key))


def _has_words(value: AnyValue) -> bool:
    """Whether there is a text with a blank in it; bytes and maps may hold anything."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return any(_has_words(each) for each in value.array_value.values)
    if kind == "string_value":
        return any(letter.isspace() for letter in value.string_value)
    return kind in ("kvlist_value", "bytes_value")
