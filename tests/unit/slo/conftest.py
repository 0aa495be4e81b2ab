"""Synthetic runs: a healthy one that passes, whose every fact a test can change before it is written."""

from __future__ import annotations

import copy
import functools
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from ruamel.yaml import YAML

T0_S = 1_800_000_000.0
PHASES = (
    ("warmup", 0, 5, False),
    ("baseline", 5, 35, True),
    ("fault", 35, 65, True),
    ("recovery", 65, 110, True),
)
RATE = 10
OPENED_S, CLOSED_S = 37.0, 66.0
KINDS = {"Internal": 1, "Server": 2, "Client": 3}


@dataclass
class Run:
    """What a run leaves behind, as plain data; `write` makes the bundle."""

    journal: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    objectives: list[dict[str, Any]] = field(default_factory=list)
    assertions: list[Any] = field(default_factory=list)

    def event(self, name: str) -> dict[str, Any]:
        return next(event for event in self.journal if event["event"] == name)

    def drop_events(self, *names: str) -> None:
        self.journal = [event for event in self.journal if event["event"] not in names]

    def segment(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["segment"] == name]

    def write(self, path: Path, batch: int = 500) -> Path:
        path.mkdir(parents=True)
        for name in ("journal", "attempts", "resources"):
            lines = "".join(json.dumps(line) + "\n" for line in getattr(self, name))
            (path / f"{name}.jsonl").write_text(lines)
        yaml = YAML(typ="safe", pure=True)
        objectives = {"apiVersion": "ragquake/v1", "kind": "Objectives", "objectives": self.objectives}
        yaml.dump(objectives, path / "objectives.yaml")
        load = {"journeys": {"ask": 7, "follow_up": 3}}
        yaml.dump({"name": "made", "load": load, "assertions": self.assertions}, path / "experiment.yaml")
        (path / "stack.json").write_text(json.dumps({"kind": "local", "machine": {"cores": 2}}))
        (path / "otlp").mkdir()
        for name, records, body in (("traces", self.spans, span_body), ("logs", self.logs, log_body)):
            chunks = [body(records[at : at + batch]) for at in range(0, len(records), batch)]
            spool = b"".join(struct.pack(">I", len(chunk)) + chunk for chunk in chunks)
            (path / "otlp" / f"{name}.binpb").write_bytes(spool)
        return path


def span_body(spans: list[dict[str, Any]]) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _attributes(resource.resource.attributes, {"service.name": "rag_service", "service.instance.id": "one"})
    scope = resource.scope_spans.add()
    for facts in spans:
        span = scope.spans.add()
        span.trace_id = bytes.fromhex(facts["trace_id"])
        span.span_id = bytes.fromhex(facts["span_id"])
        span.parent_span_id = bytes.fromhex(facts.get("parent") or "")
        span.name, span.kind = facts["name"], KINDS[facts["kind"]]
        span.start_time_unix_nano = int((T0_S + facts["at_s"]) * 1e9)
        span.end_time_unix_nano = span.start_time_unix_nano + int(facts["duration_s"] * 1e9)
        span.status.code = 2 if facts.get("failed") else 0
        _attributes(span.attributes, facts["attributes"])
    return request.SerializeToString()


def log_body(logs: list[dict[str, Any]]) -> bytes:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    _attributes(resource.resource.attributes, {"service.name": "rag_service"})
    scope = resource.scope_logs.add()
    for facts in logs:
        record = scope.log_records.add()
        record.time_unix_nano = int((T0_S + facts["at_s"]) * 1e9)
        record.event_name = "resilience.circuit_breaker.state_change"
        _attributes(record.attributes, facts["attributes"])
    return request.SerializeToString()


def _attributes(target: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        pair = target.add()
        pair.key = key
        if isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        elif isinstance(value, list):
            for item in value:
                pair.value.array_value.values.add().string_value = item
        else:
            pair.value.string_value = value


@functools.cache
def _healthy(faulty: bool) -> Run:
    """Ten arrivals a second; with `faulty`, a slow vector DB and a breaker that opens."""
    rng = random.Random(7)
    run = Run()
    _journal(run, faulty)
    arrivals = range(PHASES[-1][2] * RATE)
    for arrival in arrivals:
        _answer(run, arrival, rng, faulty)
    if faulty:
        probes = [42.0, 47.0, 52.0, 57.0, 62.0]
        changes = [(OPENED_S, "closed", "open", "failure_ratio")]
        for at_s in probes:
            changes += [
                (at_s, "open", "half_open", "timer"),
                (at_s + 0.35, "half_open", "open", "probe_failed"),
            ]
            run.spans.append(_search(run, f"{900000 + int(at_s):032x}", at_s + 0.01, 0.3, True, None))
        changes += [
            (CLOSED_S - 0.1, "open", "half_open", "timer"),
            (CLOSED_S, "half_open", "closed", "probe_ok"),
        ]
        for seq, (at_s, previous, new, cause) in enumerate(changes, 1):
            facts = {"resilience.policy.name": "vector_db", "previous": previous, "new": new, "cause": cause}
            run.logs.append({"at_s": at_s, "attributes": facts | {"seq": seq}})
        run.assertions = [
            {"breaker_opens": {"breaker": "vector_db", "within": "10s"}},
            {"no_calls_while_open": {"breaker": "vector_db", "allow_probes": 3}},
            {"breaker_closes": {"breaker": "vector_db", "within": "30s", "after": "fault"}},
            {"every_degraded_answer_says_so": {}},
        ]
    run.resources = [
        {"at_s": T0_S + second, "part": "journeys", "cpu_ratio": 0.2, "rss_bytes": 1000, "threads": 3}
        for second in range(PHASES[-1][2])
    ]
    run.objectives = [
        {
            "name": "answered",
            "segment": "journey",
            "indicator": "good_ratio",
            "target": ">= 95%",
        },
        {"name": "honest", "segment": "request", "indicator": "undeclared_degraded_ratio", "target": "= 0%"},
        {"name": "first-token", "segment": "journey", "indicator": "ttft_p95", "target": "<= 1.5s"},
        {"name": "retrieve-p95", "segment": "retrieve", "indicator": "p95", "target": "<= 500ms"},
        {"name": "recall", "segment": "retrieve", "indicator": "recall_at_5", "target": ">= 60%"},
        {"name": "recovered", "segment": "journey", "indicator": "recovery_time", "target": "<= 30s"},
    ]
    return run


def _journal(run: Run, faulty: bool) -> None:
    phases = [
        {
            "name": name,
            "start_s": start,
            "end_s": end,
            "rate_per_s": RATE,
            "judged": judged,
            "faults": ["slow"] if faulty and name == "fault" else [],
        }
        for name, start, end, judged in PHASES
    ]
    fault = {
        "on": "vector_db",
        "kind": "latency",
        "parameters": {"latency_s": 2.0},
        "expects": {"segment": "search", "shift_s": 2.0},
    }
    arrivals = {name: (end - start) * RATE for name, start, end, _ in PHASES}
    events: list[tuple[float, str, dict[str, Any]]] = [
        (
            -9,
            "run.started",
            {"run_id": "r1", "experiment": "made", "title": "Made", "incidents": [], "seed": 1},
        ),
        (
            -8,
            "run.planned",
            {"phases": phases, "faults": {"slow": fault} if faulty else {}, "arrivals": arrivals},
        ),
        (-1, "load.started", {"t0_s": T0_S}),
    ]
    if faulty:
        events += [
            (
                35.0,
                "fault.injected",
                {"fault": "slow", "on": "vector_db", "kind": "latency", "parameters": {}},
            ),
            (35.01, "fault.verified", {"fault": "slow", "read_back": {}}),
            (65.0, "fault.removed", {"fault": "slow"}),
        ]
    events += [
        (112, "load.ended", {"exit_code": 0, "offset_s": 112}),
        (113, "barrier.passed", {"last_seq": PHASES[-1][2] * RATE, "spans": 0}),
        (114, "run.finished", {"status": "completed", "message": ""}),
    ]
    run.journal = [{"at_s": T0_S + at_s, "event": event, **facts} for at_s, event, facts in events]


def _answer(run: Run, arrival: int, rng: random.Random, faulty: bool) -> None:
    at_s = arrival / RATE + 0.001
    trace = f"{arrival + 1:032x}"
    hurt = faulty and 35.01 <= at_s < CLOSED_S
    slow = hurt and at_s < OPENED_S
    search_s = 0.3 if slow else rng.lognormvariate(-5, 0.2)
    base_s, tokens_s = 0.02 + (search_s if slow or not hurt else 0.0), rng.lognormvariate(-2, 0.2)
    outcome = "degraded" if hurt else "full"
    request = f"{arrival * 16 + 1:016x}"
    legs = ["lexical"] if hurt else ["vector", "lexical"]

    def add(
        segment: str, number: int, name: str, kind: str, start_s: float, length_s: float, **attributes: Any
    ) -> str:
        span_id = f"{arrival * 16 + number:016x}"
        parent = f"{0xA0000000 + arrival:016x}" if segment == "request" else request
        run.spans.append(
            {
                "segment": segment,
                "trace_id": trace,
                "span_id": span_id,
                "parent": parent,
                "name": name,
                "kind": kind,
                "at_s": start_s,
                "duration_s": length_s,
                "attributes": attributes.pop("attributes"),
            }
        )
        return span_id

    first_s = base_s + tokens_s / 2
    add(
        "request",
        1,
        "POST /v1/answers",
        "Server",
        at_s + 0.001,
        base_s + tokens_s,
        attributes={
            "rag.outcome": outcome,
            "rag.span.seq": arrival + 1,
            "rag.context.document.count": 3,
        },
    )
    add(
        "embed",
        2,
        "embeddings m",
        "Client",
        at_s + 0.002,
        0.008,
        attributes={"gen_ai.operation.name": "embeddings"},
    )
    retrieve = add(
        "retrieve",
        3,
        "retrieval corpus",
        "Client",
        at_s + 0.011,
        base_s - 0.01,
        attributes={
            "gen_ai.operation.name": "retrieval",
            "rag.retrieval.legs": legs,
            "rag.retrieval.document.ids": ["d1", "d2"],
        },
    )
    if slow or not hurt:
        run.spans.append(_search(run, trace, at_s + 0.012, search_s, slow, retrieve))
    add("context", 5, "context", "Internal", at_s + base_s + 0.002, 0.001, attributes={})
    add(
        "generate",
        6,
        "chat m",
        "Client",
        at_s + base_s + 0.003,
        tokens_s,
        attributes={"gen_ai.operation.name": "chat"},
    )
    start = T0_S + at_s
    run.attempts.append(
        {
            "trace_id": trace,
            "span_id": f"{0xA0000000 + arrival:016x}",
            "journey": "ask" if arrival % 10 < 7 else "follow_up",
            "arrival": arrival,
            "step": 1,
            "attempt": 1,
            "phase": "x",
            "intended_start_s": start,
            "start_s": start + 0.0005,
            "first_token_s": start + first_s,
            "end_s": start + base_s + tokens_s + 0.002,
            "latency_s": base_s + tokens_s + 0.002,
            "stream": True,
            "status": 200,
            "outcome": outcome,
            "service_outcome": outcome,
            "citations": ["d1", "d2"],
            "relevant": ["d1"] if arrival % 20 else ["d9"],
            "question": "?",
            "dropped": False,
        }
    )


def _search(
    run: Run, trace: str, at_s: float, length_s: float, failed: bool, parent: str | None
) -> dict[str, Any]:
    attributes = {"db.system.name": "faiss", "db.collection.name": "corpus"}
    return {
        "segment": "search",
        "trace_id": trace,
        "span_id": f"{0xB0000000 + len(run.spans):016x}",
        "parent": parent,
        "name": "search corpus",
        "kind": "Client",
        "at_s": at_s,
        "duration_s": length_s,
        "failed": failed,
        "attributes": attributes | ({"error.type": "timeout"} if failed else {}),
    }


@pytest.fixture
def healthy() -> Run:
    """A run with a fault that the service survived; everything that it shows is in order."""
    return copy.deepcopy(_healthy(True))


@pytest.fixture
def steady() -> Run:
    """A run without any fault."""
    return copy.deepcopy(_healthy(False))


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[Run], Any]:
    """Write a run and evaluate it."""
    from slo.evaluator import evaluate

    count = 0

    def written(run: Run) -> Any:
        nonlocal count
        count += 1
        return evaluate(run.write(tmp_path / str(count)))

    return written
