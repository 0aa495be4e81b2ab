"""The OTLP receiver: what it keeps, what it refuses, and that it keeps it before it says so."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import httpx
import pytest

from slo import store
from slo.receiver import MAX_BODY_BYTES, Receiver

PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def body() -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes(16), bytes(8), "search corpus"
    return request.SerializeToString()


def test_an_acknowledged_body_is_on_disk(tmp_path: Path, body: bytes):
    """Plain and gzipped bodies stand in the spool, length first, when the answer comes."""
    with Receiver(tmp_path / "otlp") as receiver, httpx.Client(base_url=receiver.endpoint) as client:
        assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
        record = store.LENGTH.pack(len(body)) + body
        assert (tmp_path / "otlp" / "traces.binpb").read_bytes() == record
        zipped = PROTOBUF | {"content-encoding": "gzip"}
        assert client.post("/v1/traces", content=gzip.compress(body), headers=zipped).status_code == 200
        assert (tmp_path / "otlp" / "traces.binpb").read_bytes() == record * 2
        assert receiver.spans == 2
        assert client.post("/v1/metrics", content=b"", headers=PROTOBUF).status_code == 200
        assert client.post("/v1/logs", content=b"", headers=PROTOBUF).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"{}", {"content-type": "application/json"}, 415),
        (b"", PROTOBUF | {"content-encoding": "br"}, 415),
        (b"no gzip", PROTOBUF | {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], PROTOBUF | {"content-encoding": "gzip"}, 400),
        (gzip.compress(bytes(MAX_BODY_BYTES + 1), 1), PROTOBUF | {"content-encoding": "gzip"}, 413),
    ],
)
def test_garbage_is_refused_and_not_kept(tmp_path: Path, content, headers, status):
    """A refusal says why, and leaves nothing in the spool; a bomb is not unpacked."""
    with Receiver(tmp_path / "otlp") as receiver:
        response = httpx.post(f"{receiver.endpoint}/v1/traces", content=content, headers=headers)
    assert response.status_code == status
    assert response.text.strip()
    assert receiver.spans == 0
    assert not (tmp_path / "otlp" / "traces.binpb").exists()


def test_it_stops_listening_when_left(tmp_path: Path):
    """No thread and no port stays behind."""
    with Receiver(tmp_path / "otlp") as receiver:
        port = int(receiver.endpoint.rpartition(":")[2])
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_a_busy_port_is_named(tmp_path: Path):
    """The complaint says which address was wanted."""
    with (
        Receiver(tmp_path / "a") as first,
        pytest.raises(OSError, match="cannot listen on 127"),
        Receiver(tmp_path / "b", port=int(first.endpoint.rpartition(":")[2])),
    ):
        pass


def test_only_loopback_is_served(tmp_path: Path):
    """The receiver takes no password, so nobody else may reach it."""
    with pytest.raises(ValueError, match="not a loopback"):
        Receiver(tmp_path, host="0.0.0.0")


def test_it_can_turn_to_another_run(tmp_path: Path, body: bytes):
    """What came before stays where it was; the address stays, count and tap are new."""
    first, second = [], []
    with Receiver(tmp_path / "first", tap=first.append) as receiver:
        for spool in ("first", "second"):
            if spool == "second":
                receiver.turn_to(tmp_path / "second", second.append)
            httpx.post(f"{receiver.endpoint}/v1/traces", content=body, headers=PROTOBUF)
            assert receiver.spans == 1
    record = store.LENGTH.pack(len(body)) + body
    assert all((tmp_path / run / "traces.binpb").read_bytes() == record for run in ("first", "second"))
    assert first == second == [body]
