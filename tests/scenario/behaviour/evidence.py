"""What one arm of a scenario left behind: attempts as clients saw them, spans and transitions as traced.

Everything that a check needs is here, so the same check can be put to every arm. Times are Unix seconds.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rag_service.settings import Settings

REQUEST = "POST /v1/answers"
OUTCOMES_ANSWERED = frozenset({"full", "degraded", "cached"})
TERMINAL = frozenset({"done", "error"})


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream, and when it came."""

    name: str
    data: Mapping[str, Any]
    at_s: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request as its client saw it. `ending` is `answered`, `timeout`, `hung_up` or an error's name."""

    number: int
    trace_id: str
    question: str
    stream: bool
    patience_s: float
    started_s: float
    ended_s: float
    ending: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    @property
    def took_s(self) -> float:
        return self.ended_s - self.started_s

    @property
    def terminal(self) -> Event | None:
        found = [event for event in self.events if event.name in TERMINAL]
        return found[-1] if found else None

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the answer says of itself: its JSON body, or the stream's first event."""
        if self.stream and self.events:
            return self.events[0].data
        return self.body

    @property
    def outcome(self) -> str | None:
        """How the service says it ended; None when it never said."""
        if self.ending != "answered":
            return None
        if self.stream and self.status == 200:
            last = self.terminal
            if last is None:
                return None
            return "error" if last.name == "error" else str(last.data["outcome"])
        return self.body.get("outcome")

    @property
    def answered(self) -> bool:
        """A whole answer within the caller's patience."""
        return self.status == 200 and self.outcome in OUTCOMES_ANSWERED

    @property
    def degraded(self) -> list[Mapping[str, str]]:
        return list(self.meta.get("degraded", ()))

    @property
    def reasons(self) -> set[str]:
        return {loss["reason"] for loss in self.degraded}

    @property
    def error_code(self) -> str | None:
        last = self.terminal
        if last is not None:
            return last.data.get("code") if last.name == "error" else None
        return (self.body.get("error") or {}).get("code")

    @property
    def first_token_s(self) -> float:
        """From the start to the first token; infinite when none came."""
        for event in self.events:
            if event.name == "token":
                return event.at_s - self.started_s
        return math.inf

    @property
    def text(self) -> str:
        if self.stream:
            return "".join(event.data["text"] for event in self.events if event.name == "token")
        return str(self.body.get("answer", ""))


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span; attributes are strings, as the OTLP receiver keeps them."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_s: float
    end_s: float
    attributes: Mapping[str, str]

    @property
    def took_s(self) -> float:
        return self.end_s - self.start_s

    def __getitem__(self, key: str) -> str:
        return self.attributes[key]

    def get(self, key: str) -> str | None:
        return self.attributes.get(key)


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of a breaker."""

    breaker: str
    previous: str
    new: str
    cause: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The model server's engine at one moment."""

    at_s: float
    running: int
    waiting: int
    received: int


@dataclass(frozen=True)
class Evidence:
    """One arm."""

    arm: str
    settings: Settings
    attempts: tuple[Attempt, ...]
    spans: tuple[Span, ...]
    changes: tuple[Change, ...]
    marks: Mapping[str, float]
    notes: Mapping[str, Any]
    readings: tuple[Reading, ...]
    freed_after_s: float
    ready: Mapping[str, Any]

    @cached_property
    def by_name(self) -> Mapping[str, list[Span]]:
        """Spans by the first word of their name (`search`, `chat`…), in the order of their start."""
        found: dict[str, list[Span]] = defaultdict(list)
        for span in sorted(self.spans, key=lambda span: span.start_s):
            found[span.name.split()[0]].append(span)
        return found

    @cached_property
    def by_trace(self) -> Mapping[str, list[Span]]:
        found: dict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            found[span.trace_id].append(span)
        return found

    def named(self, word: str) -> list[Span]:
        return self.by_name.get(word, [])

    def request_span(self, attempt: Attempt) -> Span | None:
        return next((span for span in self.by_trace[attempt.trace_id] if span.name == REQUEST), None)

    def between(self, start: str | None, end: str | None = None) -> tuple[Attempt, ...]:
        """Attempts that started between two marks, either of which may be left open."""
        low = self.marks[start] if start else 0.0
        high = self.marks[end] if end else math.inf
        return tuple(one for one in self.attempts if low <= one.started_s < high)

    def outcomes(self, attempts: Iterable[Attempt] | None = None) -> Counter[str]:
        chosen = self.attempts if attempts is None else attempts
        return Counter(one.outcome or one.ending for one in chosen)

    def told(self, attempts: Iterable[Attempt] | None = None) -> Counter[str]:
        """What the answers said of themselves, counted: for a failing check to show."""
        chosen = self.attempts if attempts is None else attempts
        return Counter(
            " ".join([one.outcome or one.ending, *sorted(one.reasons), one.error_code or ""]).strip()
            for one in chosen
        )

    def opened(self, breaker: str) -> list[Change]:
        return [change for change in self.changes if change.breaker == breaker and change.new == "open"]

    def first_opening(self, breaker: str) -> Change:
        """When it opened first. AssertionError when it never did."""
        found = self.opened(breaker)
        assert found, f"{breaker} never opened"
        return found[0]

    def closed(self, breaker: str) -> list[Change]:
        return [change for change in self.changes if change.breaker == breaker and change.new == "closed"]


def quantile(values: Iterable[float], q: float) -> float:
    """The smallest value that at least a share `q` of all reach; infinite of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.inf


def ratio(attempts: Sequence[Attempt], rule: Callable[[Attempt], bool]) -> float:
    """The share of attempts for which a rule holds; of nothing, none."""
    return sum(map(rule, attempts)) / len(attempts) if attempts else 0.0


def overlap(spans: Sequence[Span]) -> int:
    """The largest number of spans that were under way at one time."""
    edges = sorted([(span.start_s, 1) for span in spans] + [(span.end_s, -1) for span in spans])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most
