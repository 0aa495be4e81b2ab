"""Spans and breaker transitions out of what the receiver has written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from slo.otlp import SPANS, empty_rows, flatten_spans
from slo.store import LENGTH
from tests.scenario.behaviour.evidence import Change, Span


def _bodies(file: Path) -> Iterator[bytes]:
    data = file.read_bytes() if file.exists() else b""
    at = 0
    while at < len(data):
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        yield data[at : at + length]
        at += length


def spans(spool: Path) -> tuple[Span, ...]:
    rows = empty_rows(SPANS)
    for body in _bodies(spool / "traces.binpb"):
        flatten_spans(body, rows)
    columns = ("SpanName", "TraceId", "SpanId", "ParentSpanId", "Timestamp", "Duration", "SpanAttributes")
    return tuple(
        Span(name, trace, span, parent, start / 1e9, (start + took) / 1e9, dict(attributes))
        for name, trace, span, parent, start, took, attributes in zip(
            *(rows[column] for column in columns), strict=True
        )
    )


def changes(spool: Path) -> tuple[Change, ...]:
    found: list[Change] = []
    for body in _bodies(spool / "logs.binpb"):
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    facts = {pair.key: pair.value.string_value for pair in record.attributes}
                    if "new" in facts:
                        found.append(
                            Change(
                                facts["resilience.policy.name"],
                                facts["previous"],
                                facts["new"],
                                facts["cause"],
                                record.time_unix_nano / 1e9,
                            )
                        )
    return tuple(sorted(found, key=lambda change: change.at_s))
