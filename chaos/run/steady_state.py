"""Is the service well: ready, no breaker open, every answer full, in time and with its sources?

Asked before anything is hurt, because an experiment on a sick service shows nothing, and again when all is
over, because "the faults are out" does not mean that the service has recovered. Everything that is off is
said, not only the first of it. A question that goes wrong is asked once more: the first ones after a start
find cold caches.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from chaos.errors import EnvironmentFailure
from chaos.run.journal import Journal
from chaos.run.progress import Progress
from chaos.stack.opening import Stack
from slo.units import format_duration

QUESTIONS = (
    "How do I parse a JSON string?",
    "How do I list the files in a folder?",
    "What does zip do?",
    "How do I read a CSV file row by row?",
    "How can I measure how long a call takes?",
    "What is a context manager good for?",
)
STREAMED = 2
"""So many of them are asked as a stream, which must end with its own last word."""
AFTERWARDS_WITHIN_S = 15.0
"""In all: a service that hangs is not waited for at the end of a run."""
NO_SUCH_PATH = 404


@dataclass(frozen=True, slots=True)
class SteadyState:
    """What was seen; `off` says everything that was not as it should be."""

    off: tuple[str, ...]
    answers: int
    slowest_s: float | None
    breakers: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Nothing is off."""
        return not self.off


def look_at_steady_state(
    stack: Stack,
    within_s: float,
    give_up_s: float = float("inf"),
    monotonic_s: Callable[[], float] = time.monotonic,
) -> SteadyState:
    """Look at readiness and breakers and ask the questions; each answer may take `within_s`."""
    began_s = monotonic_s()
    off: list[str] = []
    took: list[float] = []
    with httpx.Client(base_url=stack.service_url, timeout=within_s, trust_env=False) as client:
        off += _readiness(client)
        for number, question in enumerate(QUESTIONS):
            if monotonic_s() - began_s > give_up_s:
                asked = f"only {number} of {len(QUESTIONS)} questions"
                off.append(f"{asked} could be asked within {format_duration(give_up_s)}")
                break
            ask = _streamed if number < STREAMED else _whole
            wrong = ""
            for _ in range(2):
                asked_s = monotonic_s()
                wrong = ask(client, question)
                took_s = monotonic_s() - asked_s
                if not wrong and took_s > within_s:
                    wrong = f"took {format_duration(took_s)}, allowed is {format_duration(within_s)}"
                if not wrong:
                    took.append(took_s)
                    break
            if wrong:
                off.append(f"{question!r} {wrong}")
    breakers = stack.breaker_states()
    off += [f"the breaker {name} is {state}" for name, state in breakers.items() if state != "closed"]
    return SteadyState(tuple(off), len(took), round(max(took), 3) if took else None, breakers)


def require_steady_state(stack: Stack, within_s: float, journal: Journal) -> None:
    """Before anything is hurt. Raises EnvironmentFailure with all that is off."""
    seen = look_at_steady_state(stack, within_s)
    if not seen.holds:
        raise EnvironmentFailure(
            "steady state: the service is not well, and no fault was in yet: " + "; ".join(seen.off)
        )
    journal.append(
        "service.steady", answers=seen.answers, slowest_s=seen.slowest_s, breakers=dict(seen.breakers)
    )


def tell_whether_well_again(stack: Stack, journal: Journal, progress: Progress) -> None:
    """When all is over. Written down, not judged: recovery is judged by what users saw in time."""
    progress.step("looking whether the service is well again")
    seen = look_at_steady_state(stack, AFTERWARDS_WITHIN_S / 3, AFTERWARDS_WITHIN_S)
    if not seen.holds:
        progress.step(f"the service is not well again: {'; '.join(seen.off)}")
    journal.append(
        "service.afterwards",
        held=seen.holds,
        off=list(seen.off),
        answers=seen.answers,
        slowest_s=seen.slowest_s,
        breakers=dict(seen.breakers),
    )


def _readiness(client: httpx.Client) -> list[str]:
    """A service without such a path is taken by its answers."""
    try:
        answer = client.get("/readyz")
    except httpx.HTTPError as error:
        return [f"/readyz gave {type(error).__name__}"]
    if answer.status_code in (200, NO_SUCH_PATH):
        return []
    return [f"/readyz says HTTP {answer.status_code}: {answer.text[:200]}"]


def _whole(client: httpx.Client, question: str) -> str:
    """Why the answer is not one of a healthy service; empty when it is."""
    try:
        answer = client.post("/v1/answers", json={"question": question})
    except httpx.HTTPError as error:
        return f"got no answer: {type(error).__name__} {error}".rstrip()
    if answer.status_code != 200:
        return f"got HTTP {answer.status_code}: {answer.text[:200]}"
    try:
        return _wrong_with(answer.json())
    except ValueError:
        return f"got no JSON: {answer.text[:100]!r}"


def _streamed(client: httpx.Client, question: str) -> str:
    asked = {"question": question, "stream": True}
    headers = {"Accept": "text/event-stream"}
    try:
        with client.stream("POST", "/v1/answers", json=asked, headers=headers) as answer:
            if answer.status_code != 200:
                return f"got HTTP {answer.status_code}: {answer.read()[:200]!r}"
            events = dict(_events(answer.iter_lines()))
    except (httpx.HTTPError, ValueError) as error:
        return f"got no whole stream: {type(error).__name__} {error}".rstrip()
    if "done" not in events:
        return f"got a stream that ended without its last word (events: {', '.join(events) or 'none'})"
    return _wrong_with({**events.get("meta", {}), **events["done"]})


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        key, _, value = line.partition(":")
        if key == "event":
            name = value.strip()
        elif key == "data":
            found = json.loads(value)
            yield name, found if isinstance(found, dict) else {}


def _wrong_with(answer: Any) -> str:
    if not isinstance(answer, dict) or answer.get("outcome") != "full":
        outcome = answer.get("outcome") if isinstance(answer, dict) else None
        return f"got the outcome {outcome}, not a full answer (degraded: {_degraded(answer)})"
    if not answer.get("citations"):
        return "got an answer without citations"
    return ""


def _degraded(answer: Any) -> str:
    told = answer.get("degraded") if isinstance(answer, dict) else None
    return json.dumps(told)[:200] if told else "nothing"
