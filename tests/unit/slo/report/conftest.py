"""A verdict and a timeline as a real failed run would leave them, made by arithmetic so that they stay small.

150 s: warmup 10, baseline 30, spike 30, fault 40, recovery 40. The vector DB slows down by 2 s at 70 s, its
breaker opens 2 s later, and from then on most answers come from the lexical leg.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from slo.report import html
from slo.timeline import BreakerState, FaultWindow, PhaseWindow, SegmentSeries, Timeline
from slo.verdict import Verdict

PHASES = (
    ("warmup", 0, 10, 4),
    ("baseline", 10, 40, 4),
    ("spike", 40, 70, 40),
    ("fault", 70, 110, 40),
    ("recovery", 110, 150, 4),
)
BASE_S = {
    "journey": 0.42,
    "request": 0.40,
    "embed": 0.012,
    "retrieve": 0.019,
    "search": 0.0041,
    "context": 0.0021,
    "generate": 0.36,
}
SLOWER = {"warmup": 1.3, "baseline": 1.0, "spike": 2.4, "fault": 2.6, "recovery": 1.1}


@pytest.fixture(scope="session")
def timeline() -> Timeline:
    """The sample run second by second."""
    return make_timeline()


@pytest.fixture(scope="session")
def verdict() -> Verdict:
    """The sample run's verdict: it failed, and says why."""
    return make_verdict()


@pytest.fixture(scope="session")
def page_text(verdict: Verdict, timeline: Timeline) -> str:
    """The sample run's page."""
    return html.render(verdict, timeline)


def trace(number: int) -> str:
    """A trace id that is the same in every run of the tests."""
    return f"{0x5EED0000 + number * 0x9E3779B97F4A7C15:032x}"[-32:]


def make_timeline() -> Timeline:
    """The timeline that the evaluator would cut from the sample run's spans and attempts."""
    seconds = tuple(float(second) for second in range(150))
    arrivals = tuple(max(0, round(_rate(t) * (1 + 0.3 * math.sin(t * 2.3)))) for t in seconds)
    late = [t for t in seconds if 70 <= t < 110]
    degraded = [0 if t not in late else round(arrivals[int(t)] * (0.2 if t < 72 else 0.93)) for t in seconds]
    errors = [3 if t in (71.0, 72.0) else 1 if t in (55.0, 88.0) else 0 for t in seconds]
    timeouts = [round(arrivals[int(t)] * 0.3) if t in (70.0, 71.0) else 0 for t in seconds]
    dropped = [1 if t == 66.0 else 0 for t in seconds]
    full = [
        max(0, n - sum(rest)) for n, *rest in zip(arrivals, degraded, errors, timeouts, dropped, strict=True)
    ]
    return Timeline(
        bucket_s=1.0,
        at_s=seconds,
        phases=tuple(PhaseWindow(n, float(a), float(b), r, n != "warmup") for n, a, b, r in PHASES),
        faults=(FaultWindow("slow-vector-db", "vector_db", "latency", 70.1, 110.2),),
        segments={name: _series(name, arrivals) for name in BASE_S},
        outcomes={
            "full": tuple(full),
            "degraded": tuple(degraded),
            "error": tuple(errors),
            "timeout": tuple(timeouts),
            "dropped": tuple(dropped),
        },
        arrivals=arrivals,
        breakers={
            "vector_db": (
                BreakerState("closed", 0.0, 72.1),
                *(
                    state
                    for t in (72.1, 82.3, 92.6, 102.8)
                    for state in (
                        BreakerState("open", t, t + 10.0),
                        BreakerState("half_open", t + 10.0, t + 10.2),
                    )
                ),
                BreakerState("closed", 113.0, 150.0),
            ),
            "llm": (BreakerState("closed", 0.0, 150.0),),
        },
    )


def make_verdict() -> Verdict:
    """The verdict that the evaluator would give the sample run."""
    transitions: list[dict[str, Any]] = [
        {"at_s": 72.1, "previous": "closed", "new": "open", "cause": "8 of 10 calls failed"}
    ]
    for at_s in (82.1, 92.4, 102.6):
        transitions.append({"at_s": at_s, "previous": "open", "new": "half_open", "cause": "wait is over"})
        transitions.append({"at_s": at_s + 0.2, "previous": "half_open", "new": "open", "cause": "timeout"})
    transitions.append({"at_s": 112.8, "previous": "open", "new": "half_open", "cause": "wait is over"})
    transitions.append({"at_s": 113.0, "previous": "half_open", "new": "closed", "cause": "probe succeeded"})
    return Verdict.model_validate(
        {
            "schema": "ragquake/verdict/v1",
            "verdict": "fail",
            "exit_code": 1,
            "sentences": [
                "2 of 24 objectives failed: answered and first-token in the fault phase.",
                "The search segment's p95 rose from 6.2 ms in baseline to the 300 ms attempt cap in fault.",
                "The breaker vector_db opened 2 s after slow-vector-db; then 93 % of answers were lexical.",
                "All signals were back within 4.1 s of the end of the fault.",
            ],
            "run": {
                "id": "20250114-093012-spike-7c1e",
                "experiment": "spike",
                "title": "A launch-day spike of ten times the traffic while the vector DB is slow",
                "hypothesis": "Users keep getting answers, some of them degraded and saying so; nothing "
                "hangs; the service is itself again within 30 s.",
                "owner": "search-platform",
                "incidents": ["bolna-ai/bolna#489"],
                "started_at_s": 1736847012.0,
                "t0_s": 1736847019.5,
                "status": "completed",
                "overrides": [],
                "seed": 1,
            },
            "phases": [
                {
                    "name": name,
                    "start_s": start,
                    "end_s": end,
                    "rate_per_s": rate,
                    "faults": ["slow-vector-db"] if name == "fault" else [],
                    "judged": name != "warmup",
                    "arrivals": (end - start) * rate,
                    "attempts": round((end - start) * rate * 1.3),
                    "dropped": 1 if name == "spike" else 0,
                }
                for name, start, end, rate in PHASES
            ],
            "faults": [
                {
                    "name": "slow-vector-db",
                    "on": "vector_db",
                    "kind": "latency",
                    "parameters": {"latency_s": 2.0, "jitter_s": 0.2},
                    "injected_s": 70.1,
                    "removed_s": 110.2,
                    "expects": {"segment": "search", "shift_s": 2.0},
                    "bite": {
                        "verdict": "pass",
                        "message": "94 of 94 search spans during the fault were slowed by 2 s or cut off.",
                        "bitten_ratio": 1.0,
                        "spans": 94,
                    },
                }
            ],
            "gates": _gates(),
            "objectives": _objectives(),
            "assertions": _assertions(),
            "segments": {name: {phase: _cell(name, phase) for phase in SLOWER} for name in BASE_S},
            "outcomes": {
                "warmup": {"full": 52},
                "baseline": {"full": 156},
                "spike": {"full": 1551, "error": 8, "dropped": 1},
                "fault": {"full": 88, "degraded": 1930, "timeout": 47, "error": 15},
                "recovery": {"full": 204, "degraded": 4},
            },
            "breakers": {"vector_db": transitions, "llm": []},
            "recovery": {
                "journey p95": {"value_s": 2.2, "censored": False},
                "breaker vector_db": {"value_s": 2.8, "censored": False},
                "first full answer": {"value_s": 4.1, "censored": False},
                "recall at 5": {"value_s": 39.8, "censored": True},
            },
            "environment": {
                "proxy": {"kind": "builtin", "version": "0.1.0", "why": "toxiproxy-server is not on PATH"},
                "versions": {"ragquake": "0.1.0", "faiss": "1.9.0", "locust": "2.32"},
                "machine": {"cores": 2, "memory_bytes": 16_777_216_000, "python": "3.11.9"},
            },
        }
    )


def _rate(t: float) -> float:
    return next(rate for _, start, end, rate in PHASES if start <= t < end)


def _phase(t: float) -> str:
    return next(name for name, start, end, _ in PHASES if start <= t < end)


def _series(name: str, arrivals: tuple[int, ...]) -> SegmentSeries:
    counts: list[int] = []
    errors: list[int] = []
    p50: list[float | None] = []
    p95: list[float | None] = []
    for second, arrived in enumerate(arrivals):
        phase, shut = _phase(second), 73 <= second < 113
        slow = name in ("search", "retrieve", "request", "journey") and 70 <= second < 73
        probe = second in (82, 92, 102, 112)
        count = arrived if name != "search" or not shut else 2 * probe
        middle = BASE_S[name] * (1 + (SLOWER[phase] - 1) * 0.5) * (1 + 0.12 * math.sin(second * 1.7))
        extra = 0.3 * (slow or (probe and name == "search"))
        counts.append(count)
        errors.append(count if (slow or probe) and name == "search" else 0)
        p50.append(round(middle + extra, 6) if count else None)
        p95.append(round((middle * SLOWER[phase] * 1.4 + extra * 1.02), 6) if count else None)
    return SegmentSeries(tuple(counts), tuple(errors), tuple(p50), tuple(p95))


def _cell(segment: str, phase: str) -> dict[str, Any]:
    rate = next(r * (end - start) for name, start, end, r in PHASES if name == phase)
    cut = segment == "search" and phase == "fault"
    p50 = BASE_S[segment] * SLOWER[phase] ** 0.5 + 0.3 * cut
    p95 = 0.302 if cut else BASE_S[segment] * SLOWER[phase] * 1.5
    count = 94 if cut else round(rate * 1.3)
    errors = count if cut else 62 if segment == "journey" and phase == "fault" else 0
    return {
        "count": count,
        "errors": errors,
        "error_ratio": errors / count,
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": math.inf if errors > count * 0.01 else p95 * 1.6,
        "p95_interval_s": [p95 * 0.92, p95 * 1.11],
        "ttft_p95_s": p95 * 0.5 if segment == "journey" else None,
        "rate_per_s": round(rate / 30, 3),
    }


def _gates() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "verdict": "pass",
            "message": message,
            "facts": facts,
        }
        for name, message, facts in (
            ("load", "99.8 % of the intended arrivals started; p99 lag 6.1 ms.", {"achieved_ratio": 0.998}),
            ("evidence", "2,717 of 2,717 attempts join their trace; no gap in the span sequence.", {}),
            ("bite", "slow-vector-db bit: 94 of 94 search spans were slowed or cut off.", {}),
            ("samples", "Every objective had the samples it needs.", {}),
            ("proved", "Every journey ran; the breaker vector_db moved.", {}),
            ("finished", "The run went through all of its phases.", {}),
        )
    ]


def _objectives() -> list[dict[str, Any]]:
    specs: tuple[tuple[str, str, str, str, str, dict[str, float]], ...] = (
        ("answered", "journey", "good_ratio", "ratio", ">= 98%", {"spike": 0.9948, "fault": 0.9702}),
        ("honest-degradation", "request", "undeclared_degraded_ratio", "ratio", "= 0%", {}),
        ("first-token", "journey", "ttft_p95", "s", "<= 1.5s", {"spike": 1.21, "fault": 1.74}),
        ("retrieve-p95", "retrieve", "p95", "s", "<= 150ms", {"spike": 0.068, "fault": 0.141}),
        ("search-p95", "search", "p95", "s", "<= 350ms", {"fault": 0.302}),
        ("recall", "retrieve", "recall_at_5", "ratio", ">= 60%", {"spike": 0.91, "fault": 0.74}),
    )
    usual = {"answered": 1.0, "honest-degradation": 0.0, "first-token": 0.31}
    usual |= {"retrieve-p95": 0.028, "search-p95": 0.0062, "recall": 0.912}
    found = []
    for name, segment, indicator, unit, target, values in specs:
        for phase in ("baseline", "spike", "fault", "recovery"):
            value = values.get(phase, usual[name])
            failed = phase == "fault" and name in ("answered", "first-token")
            warned = phase == "fault" and name == "retrieve-p95"
            found.append(
                {
                    "name": name,
                    "segment": segment,
                    "indicator": indicator,
                    "phase": phase,
                    "target": target,
                    "warn": "<= 120ms" if name == "retrieve-p95" else None,
                    "value": value,
                    "interval": [value * 0.985, min(value * 1.012, 1.0) if unit == "ratio" else value * 1.1],
                    "samples": 2080 if phase == "fault" else 156,
                    "unit": unit,
                    "verdict": "fail" if failed else "warn" if warned else "pass",
                    "message": "The whole interval misses the target; 62 attempts failed or timed out."
                    if failed
                    else "Within the target, but above the warning level of 120 ms."
                    if warned
                    else "The whole interval meets the target.",
                    "exemplars": [trace(1), trace(2), trace(3)] if failed else [],
                }
            )
    return found


def _assertions() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "parameters": parameters,
            "verdict": verdict,
            "message": message,
            "facts": facts,
            "exemplars": exemplars,
            "trace": _tree(exemplars[0]) if exemplars else None,
        }
        for name, parameters, verdict, message, facts, exemplars in (
            (
                "breaker_opens",
                {"breaker": "vector_db", "within_s": 10.0},
                "pass",
                "vector_db opened 2 s after the fault.",
                {"opened_after_s": 2.0},
                [],
            ),
            (
                "no_calls_while_open",
                {"allow_probes": 3, "breaker": "vector_db"},
                "fail",
                "1 search span started while vector_db was open, beyond the probes.",
                {"calls": 1},
                [trace(9), trace(10)],
            ),
            (
                "every_degraded_answer_says_so",
                {},
                "pass",
                "All 1,934 degraded answers said so.",
                {},
                [],
            ),
        )
    ]


def _tree(trace_id: str) -> dict[str, Any]:
    """The counter-example of the sample run: a search that went out while the breaker was open."""
    rows: tuple[tuple[int, str, float, float | None, str, dict[str, str]], ...] = (
        (0, "journey ask", 0.0, 0.7503, "degraded", {}),
        (1, "POST /v1/answers", 0.0035, 0.7462, "degraded", {"rag.degradation.rung": "lexical"}),
        (2, "embeddings all-MiniLM-L6-v2", 0.0041, 0.0195, "ok", {}),
        (2, "retrieval corpus", 0.0239, 0.3021, "timeout", {"rag.retrieval.legs": '["lexical"]'}),
        (3, "search corpus", 0.0249, 0.3004, "timeout", {"rag.attempt": "1"}),
        (2, "context", 0.3272, 0.0004, "ok", {}),
        (2, "breaker llm", 0.3279, 0.4186, "success", {"resilience.circuit_breaker.state": "closed"}),
        (3, "chat simulator", 0.3281, 0.4190, "ok", {"gen_ai.response.finish_reasons": '["stop"]'}),
    )
    spans = [
        {
            "depth": depth,
            "name": name,
            "at_s": at_s,
            "duration_s": took_s,
            "outcome": outcome,
            "failed": outcome == "timeout",
            "attributes": attributes,
            "broke": name == "search corpus",
        }
        for depth, name, at_s, took_s, outcome, attributes in rows
    ]
    return {"id": trace_id, "at_s": 79.4, "phase": "fault", "spans": spans, "hidden": 3}
