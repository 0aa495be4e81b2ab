"""One user on a visit: intended starts, phases, headers and records."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from journeys.attempts import Attempt, Begun
from journeys.exchange import Closed, Exchange
from journeys.journey import all_journeys
from journeys.outcome import Ending, Outcome, Reading, Terminal
from journeys.plan import Phase, Plan
from journeys.questions import Question
from journeys.schedule import Arrival
from journeys.visitor import Surroundings, Visitor, dropped

FIRST, SECOND = Question("What is a set?", ("sets",)), Question("And a frozenset?", ("frozensets",))
PLAN = Plan(
    run_id="run-7",
    target="http://127.0.0.1:1",
    seed=1,
    phases=(
        Phase(name="baseline", start_s=0, end_s=10, rate_per_s=1),
        Phase(name="spike", start_s=10, end_s=20, rate_per_s=10),
    ),
    journeys={"ask": 1},
    patience_s=7.5,
    attempts=Path("attempts.jsonl"),
)


@dataclass
class Scripted:
    """A service that takes `takes_s` for each answer, on a clock that moves only by that and by sleeping."""

    at_s: float = 1000.0
    lag_s: float = 0.0
    takes_s: float = 2.0
    status: int | None = 200
    ending: Ending = Ending.FINISHED
    asked: list[dict[str, Any]] = field(default_factory=list)
    lines: list[Attempt] = field(default_factory=list)

    def now_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds

    def ask(self, question: dict[str, Any], headers: dict[str, str], **limits: Any) -> Exchange:
        self.asked.append({"body": question, "headers": headers, **limits})
        self.at_s += self.lag_s
        start_s = self.at_s
        self.at_s += self.takes_s
        terminal = Terminal.DONE if self.ending is Ending.FINISHED and self.status == 200 else None
        reading = Reading(terminal=terminal, service_outcome="full", citations=["sets"])
        return Exchange(start_s, self.at_s, self.status, self.ending, reading)

    def around(self) -> Surroundings:
        return Surroundings(PLAN, 1000.0, self, self, self.sleep, self.lines.append)  # type: ignore[arg-type]

    def visit(self, journey: str, t_s: float = 0.0) -> list[Attempt]:
        self.at_s = 1000.0 + t_s
        arrival = Arrival(4, t_s, "baseline", journey, (FIRST, SECOND), "seed")
        all_journeys()[journey].live(Visitor(arrival, self.around()))
        return self.lines


def test_latency_counts_from_the_intended_start() -> None:
    """A generator that lags adds its lag to the latency instead of hiding it."""
    (line,) = Scripted(lag_s=0.4).visit("ask")
    assert line.intended_start_s == 1000.0
    assert line.start_s == pytest.approx(1000.4)
    assert line.latency_s == pytest.approx(2.4)


def test_an_attempt_is_told_of_before_it_is_sent() -> None:
    """Whoever watches the run knows of a question that hangs, by the trace id of the line to come."""
    service, begun = Scripted(lag_s=0.4), []

    def begin(one: Begun) -> None:
        assert len(service.asked) == len(begun) and len(service.lines) == len(begun)
        begun.append(one)

    service.at_s = 1000.0
    arrival = Arrival(4, 0.0, "baseline", "follow_up", (FIRST, SECOND), "seed")
    all_journeys()["follow_up"].live(Visitor(arrival, replace(service.around(), begin=begin)))
    told = [json.loads(one.line()) for one in begun]
    assert [one["trace_id"] for one in told] == [line.trace_id for line in service.lines]
    assert [one["intended_start_s"] for one in told] == pytest.approx(
        [line.intended_start_s for line in service.lines]
    )


def test_a_record_says_what_was_asked_and_what_came_back() -> None:
    """Question, relevant documents, claims and outcome stand on one line with the ids that were sent."""
    service = Scripted()
    (line,) = service.visit("ask")
    assert (line.question, line.relevant, line.citations) == (FIRST.text, ["sets"], ["sets"])
    assert (line.outcome, line.service_outcome, line.status, line.stream) == ("full", "full", 200, True)
    assert (line.arrival, line.step, line.attempt, line.dropped) == (4, 1, 1, False)
    headers = service.asked[0]["headers"]
    assert headers["traceparent"] == f"00-{line.trace_id}-{line.span_id}-01"
    assert "ragquake.attempt=4.1.1" in headers["baggage"] and "ragquake.phase=baseline" in headers["baggage"]
    assert headers["X-Request-Deadline-Ms"] == "7500"
    assert headers["Accept-Encoding"] == "identity"
    assert service.asked[0]["body"] == {"question": FIRST.text, "session_id": line.session_id, "stream": True}


def test_a_follow_up_is_meant_when_its_user_has_thought() -> None:
    """The second question's intended start is the end of the thinking, in the same session, not streamed."""
    service = Scripted()
    first, second = service.visit("follow_up")
    assert first.end_s is not None
    assert 0.5 <= second.intended_start_s - first.end_s <= 2.0
    assert second.session_id == first.session_id and second.trace_id != first.trace_id
    assert (first.step, second.step) == (1, 2)
    assert (second.question, second.relevant) == (SECOND.text, ["frozensets"])
    assert [asked["body"]["stream"] for asked in service.asked] == [False, False]


def test_thinking_takes_the_same_time_in_every_run() -> None:
    """Think times come from the arrival's seed."""
    once, again = Scripted().visit("follow_up"), Scripted().visit("follow_up")
    assert once[1].intended_start_s == again[1].intended_start_s


def test_a_failed_answer_does_not_take_load_off() -> None:
    """The second question is asked whatever became of the first."""
    lines = Scripted(status=503).visit("follow_up")
    assert [line.outcome for line in lines] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("t_s", "phases"),
    [(1.0, ["baseline", "baseline"]), (8.5, ["baseline", "spike"]), (19.0, ["spike", None])],
)
def test_an_attempt_belongs_to_the_phase_it_was_meant_in(t_s: float, phases: list[str | None]) -> None:
    """The phase is that of the intended start; after the last phase there is none."""
    assert [line.phase for line in Scripted().visit("follow_up", t_s)] == phases


def test_an_impatient_user_sets_a_limit_to_the_first_token() -> None:
    """The limit is drawn from the seed, within the journey's bounds; others set none."""
    service = Scripted()
    service.visit("impatient")
    service.visit("ask")
    assert 1.0 <= service.asked[0]["first_token_within_s"] <= 3.0
    assert service.asked[1]["first_token_within_s"] is None


@pytest.mark.parametrize(
    ("ending", "outcome"), [(Ending.RUN_OVER, Outcome.TIMEOUT), (Ending.RUN_STOPPED, Outcome.ABANDONED)]
)
def test_the_end_of_the_run_ends_a_visit_but_not_its_record(ending: Ending, outcome: Outcome) -> None:
    """An attempt closed by the run's end is written, and no further question is asked."""
    service = Scripted(status=None, ending=ending)
    with pytest.raises(Closed):
        service.visit("follow_up")
    assert [line.outcome for line in service.lines] == [outcome]


def test_a_dropped_arrival_has_a_time_and_a_question_but_no_trace() -> None:
    """What was not sent has no identity, and is placed in its phase all the same."""
    line = dropped(Arrival(9, 12.0, "spike", "follow_up", (FIRST, SECOND), "seed"), 1000.0)
    assert (line.dropped, line.phase, line.intended_start_s, line.step) == (True, "spike", 1012.0, 1)
    assert (line.trace_id, line.outcome, line.attempt, line.start_s) == (None, None, None, None)
