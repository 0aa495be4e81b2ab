"""The verdict of a run, as `verdict.json` holds it (docs/design/0001, section 5).

It is typed, so that the evaluator cannot leave a key out and a renderer cannot misspell one, and its
JSON is canonical (sorted keys, floats rounded to six digits, one newline at the end), so that the same
bundle gives the same bytes. Strict JSON has no infinity: a percentile that lies in the failed requests
is written as the string "Infinity" and read back as one.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Literal["ragquake/verdict/v1"] = "ragquake/verdict/v1"
FILE = "verdict.json"

Verdicts = Literal["pass", "warn", "fail", "inconclusive", "error"]
EXIT_CODES: dict[Verdicts, int] = {"pass": 0, "warn": 0, "fail": 1, "inconclusive": 3, "error": 4}

Interval = tuple[float | None, float | None]


class Part(BaseModel):
    """What every part of a verdict has in common: it never changes and knows no unnamed keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(Part):
    """Which run was judged, and what it claimed."""

    id: str | None = None
    experiment: str | None = None
    title: str | None = None
    hypothesis: str | None = None
    owner: str | None = None
    incidents: tuple[str, ...] = ()
    started_at_s: float | None = None
    t0_s: float | None = None
    status: str | None = None
    overrides: tuple[str, ...] = ()
    seed: int | None = None


class Phase(Part):
    """A stretch of the run; offsets count from t0. `arrivals` were planned, `dropped` never started.

    Where the rate changed, `rate_told` says how, in arrivals per second, and `rate_per_s` is its mean.
    """

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    rate_told: str = ""
    faults: tuple[str, ...] = ()
    judged: bool = True
    arrivals: int | None = None
    attempts: int = 0
    dropped: int = 0


class Bite(Part):
    """Whether the traces show that a fault was felt."""

    verdict: Verdicts
    message: str
    bitten_ratio: float | None = None
    spans: int = 0


class Fault(Part):
    """A fault as it was injected and removed; the offsets come from the journal."""

    name: str
    on: str
    kind: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    injected_s: float | None = None
    removed_s: float | None = None
    expects: dict[str, Any] = Field(default_factory=dict)
    bite: Bite


class Gate(Part):
    """One condition without which a run cannot pass (design, section 7)."""

    name: Literal["load", "evidence", "bite", "samples", "proved", "finished"]
    verdict: Verdicts
    message: str
    facts: dict[str, Any] = Field(default_factory=dict)


class Objective(Part):
    """One objective in one phase: what was wanted, what was seen, and which traces show it."""

    name: str
    segment: str
    indicator: str
    phase: str
    target: str
    warn: str | None = None
    value: float | None = None
    interval: Interval = (None, None)
    samples: int = 0
    unit: Literal["s", "ratio", "per_s"]
    verdict: Verdicts
    message: str
    exemplars: tuple[str, ...] = ()


class TraceSpan(Part):
    """One span of a trace that is shown: `at_s` counts from the trace's beginning."""

    depth: int
    name: str
    at_s: float
    duration_s: float | None = None
    outcome: str = ""
    failed: bool = False
    attributes: dict[str, str] = Field(default_factory=dict)
    broke: bool = False
    orphan: bool = False


class Trace(Part):
    """A trace as a tree, parents before their children; `hidden` spans are left out."""

    id: str
    at_s: float
    phase: str | None = None
    spans: tuple[TraceSpan, ...] = ()
    hidden: int = 0


class Assertion(Part):
    """One rule over the traces, with the traces that break it; `trace` is the first of them."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    verdict: Verdicts
    message: str
    facts: dict[str, Any] = Field(default_factory=dict)
    exemplars: tuple[str, ...] = ()
    trace: Trace | None = None


class SegmentPhase(Part):
    """One segment in one phase.

    In `p50_s` to `p99_s` failed requests count as infinitely slow, so that they may be infinite;
    `lived_p50_s` and `lived_p95_s` take every request at the time that it took, failed or not.
    """

    count: int
    errors: int
    error_ratio: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    p95_interval_s: Interval = (None, None)
    lived_p50_s: float | None = None
    lived_p95_s: float | None = None
    ttft_p95_s: float | None = None
    rate_per_s: float | None = None


class BreakerTransition(Part):
    """A circuit breaker changed its state, at an offset from t0."""

    at_s: float
    previous: str
    new: str
    cause: str | None = None


class Recovery(Part):
    """Time from the end of the last fault to a signal's return; `censored` means longer than `value_s`."""

    value_s: float | None = None
    censored: bool = False


class Verdict(Part):
    """Everything that a run proved, failed to prove, or showed to be false."""

    schema_: Literal["ragquake/verdict/v1"] = Field(default=SCHEMA, alias="schema")
    verdict: Verdicts
    exit_code: int
    sentences: tuple[str, ...] = ()
    run: Run
    phases: tuple[Phase, ...] = ()
    faults: tuple[Fault, ...] = ()
    gates: tuple[Gate, ...] = ()
    objectives: tuple[Objective, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    segments: dict[str, dict[str, SegmentPhase]] = Field(default_factory=dict)
    outcomes: dict[str, dict[str, int]] = Field(default_factory=dict)
    breakers: dict[str, tuple[BreakerTransition, ...]] = Field(default_factory=dict)
    recovery: dict[str, Recovery] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON: equal verdicts give equal text."""
        plain = _canonical(self.model_dump(mode="python", by_alias=True))
        return json.dumps(plain, sort_keys=True, ensure_ascii=False, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """The verdict that `to_json` wrote. Raises ValueError when the text is something else."""
        return cls.model_validate_json(text)

    def write(self, path: Path) -> None:
        """Write the canonical JSON; a reader sees the old file or the new one, never a half."""
        beside = path.with_name(path.name + ".part")
        beside.write_text(self.to_json(), encoding="utf-8")
        beside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Verdict:
        """The verdict in a file."""
        return cls.from_json(path.read_text(encoding="utf-8"))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        if math.isnan(value):
            return None
        return round(value, 6) + 0.0  # no -0.0
    return value
