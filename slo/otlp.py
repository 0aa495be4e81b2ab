"""OTLP protobuf to rows whose columns are named as the OpenTelemetry ClickHouse exporter names them.

Attributes become a map of strings, as in ClickHouse; lists and maps are written as JSON text, booleans
as `true` and `false`. The same SQL then reads a bundle in DuckDB and a collector's ClickHouse table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from slo.segments.selection import KINDS

__all__ = ["LOGS", "SPANS", "DecodeError", "Flatten", "Rows", "empty_rows", "flatten_logs", "flatten_spans"]

STATUS = ("Unset", "Ok", "Error")

_MAP = pa.map_(pa.string(), pa.string())
_EVENTS = pa.list_(
    pa.struct([("Timestamp", pa.timestamp("ns")), ("Name", pa.string()), ("Attributes", _MAP)])
)
SPANS = pa.schema(
    [
        ("Timestamp", pa.timestamp("ns")),
        ("TraceId", pa.string()),
        ("SpanId", pa.string()),
        ("ParentSpanId", pa.string()),
        ("SpanName", pa.string()),
        ("SpanKind", pa.string()),
        ("ServiceName", pa.string()),
        ("ResourceAttributes", _MAP),
        ("ScopeName", pa.string()),
        ("SpanAttributes", _MAP),
        ("Duration", pa.int64()),
        ("StatusCode", pa.string()),
        ("StatusMessage", pa.string()),
        ("Events", _EVENTS),
    ]
)
LOGS = pa.schema(
    [
        ("Timestamp", pa.timestamp("ns")),
        ("TraceId", pa.string()),
        ("SpanId", pa.string()),
        ("SeverityText", pa.string()),
        ("SeverityNumber", pa.int32()),
        ("ServiceName", pa.string()),
        ("Body", pa.string()),
        ("EventName", pa.string()),
        ("ResourceAttributes", _MAP),
        ("ScopeName", pa.string()),
        ("LogAttributes", _MAP),
    ]
)

Rows = dict[str, list[Any]]
Flatten = Callable[[bytes, Rows], None]


def empty_rows(schema: pa.Schema) -> Rows:
    """One empty list per column."""
    return {name: [] for name in schema.names}


def flatten_spans(body: bytes, rows: Rows) -> None:
    """Append the spans of one export request. Raises google.protobuf's DecodeError for garbage."""
    add = [rows[name].append for name in SPANS.names]
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        service = dict(resource).get("service.name", "")
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name
            for span in scope_spans.spans:
                start = span.start_time_unix_nano
                row = (
                    start,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    _name(KINDS, span.kind),
                    service,
                    resource,
                    scope,
                    _attributes(span.attributes),
                    max(0, span.end_time_unix_nano - start),
                    _name(STATUS, span.status.code),
                    span.status.message,
                    [
                        {
                            "Timestamp": event.time_unix_nano,
                            "Name": event.name,
                            "Attributes": _attributes(event.attributes),
                        }
                        for event in span.events
                    ],
                )
                for append, value in zip(add, row, strict=True):
                    append(value)


def flatten_logs(body: bytes, rows: Rows) -> None:
    """Append the log records of one export request. Raises google.protobuf's DecodeError for garbage."""
    add = [rows[name].append for name in LOGS.names]
    for resource_logs in ExportLogsServiceRequest.FromString(body).resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        service = dict(resource).get("service.name", "")
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                row = (
                    record.time_unix_nano or record.observed_time_unix_nano,
                    record.trace_id.hex(),
                    record.span_id.hex(),
                    record.severity_text,
                    int(record.severity_number),
                    service,
                    _text(record.body),
                    record.event_name,
                    resource,
                    scope_logs.scope.name,
                    _attributes(record.attributes),
                )
                for append, value in zip(add, row, strict=True):
                    append(value)


def _attributes(pairs: Iterable[KeyValue]) -> list[tuple[str, str]]:
    return list({pair.key: _text(pair.value) for pair in pairs}.items())


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind is None:
        return ""
    if kind in ("array_value", "kvlist_value", "bytes_value"):
        return json.dumps(_plain(value), ensure_ascii=False)
    return repr(getattr(value, kind))


def _plain(value: AnyValue) -> str | bool | int | float | list[Any] | Mapping[str, Any] | None:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return value.bytes_value.hex()
    plain: str | bool | int | float = getattr(value, kind)
    return plain
