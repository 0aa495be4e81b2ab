"""Traces made by hand: the story of a run in a few lines, judged by one assertion and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slo import assertions, verdict
from slo.bundle import Bundle
from slo.evidence import read_evidence
from slo.segments import default_table

T0_S = 1_800_000_000.0


class Story:
    """A run of which nothing has happened yet; `run` is what is written."""

    def __init__(self, run: Any) -> None:
        self.run = run
        run.spans.clear()
        run.attempts.clear()
        run.logs.clear()
        self._ids = 0

    def trace(self, number: int) -> str:
        return f"{number:032x}"

    def span(
        self,
        trace: int,
        name: str,
        at_s: float,
        took_s: float,
        parent: str | None = None,
        *,
        kind: str = "Internal",
        failed: bool = False,
        **attributes: Any,
    ) -> str:
        """One span; `rag__outcome` becomes `rag.outcome`."""
        self._ids += 1
        span_id = f"{self._ids:016x}"
        self.run.spans.append(
            {
                "trace_id": self.trace(trace),
                "span_id": span_id,
                "parent": parent,
                "name": name,
                "kind": kind,
                "at_s": at_s,
                "duration_s": took_s,
                "failed": failed,
                "attributes": {key.replace("__", "."): value for key, value in attributes.items()},
            }
        )
        return span_id

    def request(self, trace: int, at_s: float, took_s: float = 0.5, **attributes: Any) -> str:
        facts = {"rag__outcome": "full"} | attributes
        caller = f"{0xC0000000 + trace:016x}"
        return self.span(trace, "POST /v1/answers", at_s, took_s, caller, kind="Server", **facts)

    def search(
        self, trace: int, at_s: float, took_s: float = 0.01, parent: str | None = None, **facts: Any
    ) -> str:
        attributes = {"db__system__name": "faiss"} | facts
        return self.span(trace, "search corpus", at_s, took_s, parent, kind="Client", **attributes)

    def generate(
        self, trace: int, at_s: float, took_s: float = 0.3, parent: str | None = None, **facts: Any
    ) -> str:
        attributes = {"gen_ai__operation__name": "chat"} | facts
        return self.span(trace, "chat m", at_s, took_s, parent, kind="Client", **attributes)

    def guarded(self, trace: int, at_s: float, took_s: float, state: str, outcome: str) -> str:
        """A call as its breaker saw it."""
        return self.span(
            trace,
            "breaker vector_db",
            at_s,
            took_s,
            resilience__policy__name="vector_db",
            resilience__circuit_breaker__state=state,
            resilience__circuit_breaker__outcome=outcome,
        )

    def breaker(self, *changes: tuple[float, str, str]) -> None:
        """Transitions of the breaker vector_db."""
        for seq, (at_s, previous, new) in enumerate(changes, 1):
            facts = {"resilience.policy.name": "vector_db", "previous": previous, "new": new, "cause": "x"}
            self.run.logs.append({"at_s": at_s, "attributes": facts | {"seq": seq}})

    def attempt(
        self, trace: int, at_s: float, took_s: float = 0.5, outcome: str = "full", **facts: Any
    ) -> None:
        start_s = T0_S + at_s
        self.run.attempts.append(
            {
                "trace_id": self.trace(trace),
                "span_id": f"{0xC0000000 + trace:016x}",
                "journey": "ask",
                "arrival": trace,
                "step": 1,
                "attempt": 1,
                "intended_start_s": start_s,
                "start_s": start_s,
                "end_s": start_s + took_s,
                "stream": True,
                "terminal_events": 1,
                "status": 200,
                "outcome": outcome,
                "dropped": False,
            }
            | facts
        )


@pytest.fixture
def story(steady: Any) -> Story:
    """Phases warmup to 5 s, baseline to 35 s, fault to 65 s, recovery to 110 s; nobody came yet."""
    return Story(steady)


@pytest.fixture
def assess(tmp_path: Path) -> Callable[..., verdict.Assertion]:
    """What one assertion says of a story."""
    count = 0

    def judged(story: Any, name: str, /, **parameters: Any) -> verdict.Assertion:
        nonlocal count
        count += 1
        bundle = story.run.write(tmp_path / str(count), batch=20_000)
        evidence = read_evidence(Bundle.at(bundle), default_table())
        given = {key.rstrip("_"): value for key, value in parameters.items()}
        return assertions.parse({name: given}).check(evidence)

    return judged
