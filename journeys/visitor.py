"""One user on a visit: what a journey can do is ask a question and think.

Everything that makes an attempt believable happens here, once, for all journeys: its identity and
headers, its intended start, its phase, its line in `attempts.jsonl`. A journey only tells the story.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from journeys.attempts import Attempt, Begun
from journeys.clock import Clock, Sleep, sleep_until
from journeys.exchange import AnswerClient, Closed, Exchange
from journeys.identity import Identity
from journeys.outcome import Ending, Outcome, outcome_of
from journeys.plan import Plan
from journeys.questions import Question
from journeys.schedule import Arrival

FIRST_ATTEMPT = 1
"""Users here ask once: a retry by hand would hide from the record what the first request came to."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all visitors of a run share."""

    plan: Plan
    t0_s: float
    client: AnswerClient
    clock: Clock
    sleep: Sleep
    record: Callable[[Attempt], None]
    begin: Callable[[Begun], None] = lambda _begun: None


class Visitor:
    """A user who arrived; `questions` are theirs to ask."""

    def __init__(self, arrival: Arrival, around: Surroundings) -> None:
        self._arrival = arrival
        self._around = around
        self._choices = Random(arrival.seed)
        self._intended_s = around.t0_s + arrival.t_s
        self._step = 0

    @property
    def questions(self) -> tuple[Question, ...]:
        return self._arrival.questions

    def choose(self, low: float, high: float) -> float:
        """A number between two bounds; the same one in every run with this seed."""
        return self._choices.uniform(low, high)

    def think(self, seconds: float) -> None:
        """Pause; the next question's latency counts from the end of the pause."""
        self._intended_s += seconds
        sleep_until(self._intended_s, self._around.clock, self._around.sleep)

    def ask(
        self, question: Question, *, stream: bool = True, first_token_within_s: float | None = None
    ) -> Outcome:
        """Ask, wait for the answer for as long as patience lasts, and record what came of it."""
        self._step += 1
        plan = self._around.plan
        who = Identity(plan.run_id, self._arrival.journey, self._arrival.index, self._step, FIRST_ATTEMPT)
        phase = plan.phase_at(self._intended_s - self._around.t0_s)
        start_s = self._around.clock.now_s()
        self._around.begin(
            Begun(trace_id=who.trace_id, intended_start_s=self._intended_s, start_s=start_s, stream=stream)
        )
        answer = self._around.client.ask(
            {"question": question.text, "session_id": who.session_id, "stream": stream},
            request_headers(who, phase, plan.patience_s, stream),
            patience_s=plan.patience_s,
            first_token_within_s=first_token_within_s,
        )
        outcome = outcome_of(answer.status, answer.ending, answer.reading)
        self._around.record(attempt_of(who, phase, self._intended_s, question, stream, answer, outcome))
        self._intended_s = answer.end_s
        if answer.ending in (Ending.RUN_OVER, Ending.RUN_STOPPED):
            raise Closed(answer.ending)
        return outcome


def request_headers(who: Identity, phase: str | None, patience_s: float, stream: bool) -> dict[str, str]:
    """What an attempt says about itself to the service, and how long its user will wait."""
    return {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if stream else "application/json",
        "Accept-Encoding": "identity",
        "X-Request-Deadline-Ms": str(round(patience_s * 1000)),
        "traceparent": who.traceparent,
        "baggage": who.baggage(phase),
    }


def attempt_of(
    who: Identity,
    phase: str | None,
    intended_s: float,
    question: Question,
    stream: bool,
    answer: Exchange,
    outcome: Outcome,
) -> Attempt:
    """The record of one exchange; its latency counts from when the user meant to ask."""
    reading = answer.reading
    return Attempt(
        trace_id=who.trace_id,
        span_id=who.span_id,
        session_id=who.session_id,
        journey=who.journey,
        arrival=who.arrival,
        step=who.step,
        attempt=who.attempt,
        phase=phase,
        intended_start_s=intended_s,
        start_s=answer.start_s,
        first_token_s=reading.first_token_s,
        end_s=answer.end_s,
        latency_s=answer.end_s - intended_s,
        largest_gap_s=reading.largest_gap_s,
        tokens=reading.tokens,
        terminal_events=reading.terminal_events,
        stream=stream,
        status=answer.status,
        outcome=outcome.value,
        service_outcome=reading.service_outcome,
        degraded=reading.degraded,
        citations=reading.citations,
        question=question.text,
        relevant=list(question.relevant),
    )


def dropped(arrival: Arrival, t0_s: float) -> Attempt:
    """The record of an arrival that was not let in because too many users were there already."""
    return Attempt(
        journey=arrival.journey,
        arrival=arrival.index,
        step=1,
        phase=arrival.phase,
        intended_start_s=t0_s + arrival.t_s,
        question=arrival.questions[0].text,
        relevant=list(arrival.questions[0].relevant),
        dropped=True,
    )
