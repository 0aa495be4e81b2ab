"""The arrival schedule: Poisson within a phase, exact, and deaf to what other phases do."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from journeys.plan import Phase, Plan
from journeys.questions import Question
from journeys.rate_curve import RateCurve
from journeys.schedule import Arrival, arrivals_per_phase, schedule

QUESTIONS = tuple(Question(f"question {n}?", (f"document-{n}",)) for n in range(20))
NEEDS = {"ask": 1, "follow_up": 2}


Points = tuple[tuple[float, float], ...]


def plan(
    *phases: tuple[str, float, float, float | Points],
    seed: int = 1,
    journeys: dict[str, float] | None = None,
    spacing: Literal["poisson", "constant"] = "poisson",
) -> Plan:
    return Plan(
        run_id="run",
        target="http://127.0.0.1:1",
        seed=seed,
        arrivals=spacing,
        phases=tuple(phase(*one) for one in phases),
        journeys=journeys or {"ask": 7, "follow_up": 3},
        attempts=Path("attempts.jsonl"),
    )


def phase(name: str, start_s: float, end_s: float, rate: float | Points) -> Phase:
    if not isinstance(rate, tuple):
        return Phase(name=name, start_s=start_s, end_s=end_s, rate_per_s=rate)
    mean = RateCurve(rate).expected / (end_s - start_s)
    return Phase(name=name, start_s=start_s, end_s=end_s, rate_per_s=mean, curve=rate)


def area(points: Points, until_s: Sequence[float]) -> list[float]:
    """Arrivals to expect by each of those moments, by adding narrow strips up: not the code under test."""
    edges = np.linspace(0.0, points[-1][0], 20_001)
    times, rates = np.array(points).T
    piece = np.clip(np.searchsorted(times, (edges[1:] + edges[:-1]) / 2, side="right"), 1, len(times) - 1)
    share = ((edges[1:] + edges[:-1]) / 2 - times[piece - 1]) / (times[piece] - times[piece - 1])
    heights = rates[piece - 1] + (rates[piece] - rates[piece - 1]) * share
    sums = np.concatenate([[0.0], np.cumsum(heights * np.diff(edges))])
    return [float(one) for one in np.interp(until_s, edges, sums)]


def arrivals(drawn: Plan) -> tuple[Arrival, ...]:
    return schedule(drawn, QUESTIONS, NEEDS)


@st.composite
def curves(draw: st.DrawFn, length_s: float) -> Points:
    """Lines and jumps between rates of 0 to 30/s over a phase of that length."""
    corners = sorted(
        {0.0, length_s, *draw(st.lists(st.floats(0.01 * length_s, 0.99 * length_s), max_size=6))}
    )
    rates = st.sampled_from([0.0, 0.1, 1.0, 7.0, 30.0]) | st.floats(0, 30)
    points: list[tuple[float, float]] = []
    for t_s in corners:
        points += [(t_s, draw(rates)) for _ in range(draw(st.integers(1, 2)))]
    return tuple(points)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    at_s, phases = 0.0, []
    for number in range(draw(st.integers(1, 4))):
        start_s = at_s + draw(st.sampled_from([0.0, 0.5, 3.0]))
        at_s = start_s + draw(st.floats(0.1, 20))
        rate = draw(st.sampled_from([0, 0.3, 2, 15]) | curves(at_s - start_s))
        phases.append((f"phase{number}", start_s, at_s, rate))
    spacing = draw(st.sampled_from(["poisson", "constant"]))
    return plan(*phases, seed=draw(st.integers(-(2**40), 2**40)), spacing=spacing)


@given(plans())
@settings(max_examples=60)
def test_arrivals_are_in_order_and_inside_their_phase(drawn: Plan) -> None:
    """Arrivals are sorted, numbered from 1, and lie within the phase that they name."""
    found = arrivals(drawn)
    assert [a.index for a in found] == list(range(1, len(found) + 1))
    assert [a.t_s for a in found] == sorted(a.t_s for a in found)
    assert all(drawn.phase_at(a.t_s) == a.phase for a in found)
    assert all(len(a.questions) == NEEDS[a.journey] for a in found)


@given(plans())
@settings(max_examples=30)
def test_one_seed_makes_one_schedule(drawn: Plan) -> None:
    """The same plan and seed give the same arrivals, journeys and questions."""
    assert arrivals(drawn) == arrivals(drawn)


def test_another_seed_makes_another_schedule() -> None:
    """The seed matters: the test above does not pass because everything is constant."""
    phases = ("baseline", 0.0, 30.0, 5.0)
    assert [a.t_s for a in arrivals(plan(phases, seed=1))] != [a.t_s for a in arrivals(plan(phases, seed=2))]


@given(rate=st.sampled_from([0.0, 1.0, 50.0]), extra_s=st.floats(0.1, 30))
@settings(max_examples=20)
def test_a_later_phase_moves_no_arrival_of_an_earlier_one(rate: float, extra_s: float) -> None:
    """Changing the last phase leaves every arrival before it as it was."""
    early = arrivals(plan(("baseline", 0.0, 20.0, 3.0), ("spike", 20.0, 30.0, 9.0)))
    late = arrivals(plan(("baseline", 0.0, 20.0, 3.0), ("spike", 20.0, 20.0 + extra_s, rate)))
    assert [a for a in early if a.phase == "baseline"] == [a for a in late if a.phase == "baseline"]


def test_an_earlier_phase_moves_no_time_of_a_later_one() -> None:
    """The spike falls on the same instants however loud the baseline is: arms stay comparable."""
    quiet = arrivals(plan(("baseline", 0.0, 20.0, 1.0), ("spike", 20.0, 30.0, 9.0)))
    loud = arrivals(plan(("baseline", 0.0, 20.0, 8.0), ("spike", 20.0, 30.0, 9.0)))

    def spike(found: tuple[Arrival, ...]) -> list[tuple[float, str, tuple[Question, ...]]]:
        return [(a.t_s, a.journey, a.questions) for a in found if a.phase == "spike"]

    assert spike(quiet) == spike(loud) and spike(quiet)


def test_a_longer_phase_only_adds_arrivals() -> None:
    """Lengthening a phase keeps its first arrivals where they were."""
    short, long = arrivals(plan(("a", 0.0, 20.0, 4.0))), arrivals(plan(("a", 0.0, 40.0, 4.0)))
    assert long[: len(short)] == short and len(long) > len(short)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_the_number_of_arrivals_is_what_the_rate_promises(seed: int) -> None:
    """1,000 expected arrivals come out within six standard deviations, for any seed."""
    found = arrivals(plan(("baseline", 0.0, 100.0, 10.0), seed=seed))
    assert abs(len(found) - 1000) < 6 * math.sqrt(1000)


def test_gaps_are_exponential_and_not_a_metronome() -> None:
    """Gaps have the mean of the rate and, as in a Poisson process, as much spread as mean."""
    times = [a.t_s for a in arrivals(plan(("baseline", 0.0, 1000.0, 10.0)))]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert abs(mean - 0.1) < 0.005
    assert abs(spread / mean - 1) < 0.05


def test_journeys_come_in_the_proportions_asked_for() -> None:
    """Weights 9 to 1 give shares near 90 % and 10 %."""
    found = arrivals(plan(("a", 0.0, 500.0, 10.0), journeys={"ask": 9, "follow_up": 1}))
    share = sum(a.journey == "ask" for a in found) / len(found)
    assert abs(share - 0.9) < 0.03


def test_a_visit_does_not_ask_the_same_question_twice() -> None:
    """A user's questions differ as long as there are enough of them."""
    found = arrivals(plan(("a", 0.0, 100.0, 10.0), journeys={"follow_up": 1}))
    assert found and all(len(set(a.questions)) == 2 for a in found)


def test_fewer_questions_than_steps_are_asked_again() -> None:
    """One golden question is enough to drive a journey of two steps."""
    found = schedule(plan(("a", 0.0, 10.0, 5.0), journeys={"follow_up": 1}), QUESTIONS[:1], NEEDS)
    assert {a.questions for a in found} == {(QUESTIONS[0], QUESTIONS[0])}


def test_every_phase_is_counted_even_without_arrivals() -> None:
    """The counts name all phases and add up to the schedule."""
    drawn = plan(("pause", 0.0, 5.0, 0.0), ("spike", 5.0, 15.0, 10.0))
    counts = arrivals_per_phase(drawn, arrivals(drawn))
    assert counts["pause"] == 0
    assert counts["spike"] == len(arrivals(drawn)) > 0


@given(curves(20.0), st.integers(0, 10_000))
@settings(max_examples=60)
def test_constant_arrivals_follow_the_curve_to_within_one(points: Points, seed: int) -> None:
    """At each arrival the curve has promised just that many, whatever its shape, and nothing drifts."""
    found = arrivals(plan(("a", 5.0, 25.0, points), seed=seed, spacing="constant"))
    assert abs(len(found) - area(points, [20.0])[0]) <= 0.5 + 0.05
    for number, promised in enumerate(area(points, [arrival.t_s - 5.0 for arrival in found])):
        assert abs(promised - (number + 0.5)) < 0.05


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_poisson_arrivals_match_the_integral_of_the_curve(seed: int) -> None:
    """In each quarter of a ramp there are as many as its area, within six standard deviations."""
    points = ((0.0, 0.0), (100.0, 40.0))
    times = [a.t_s for a in arrivals(plan(("a", 0.0, 100.0, points), seed=seed))]
    edges = [0.0, 25.0, 50.0, 75.0, 100.0]
    for (start_s, end_s), (before, after) in zip(
        itertools.pairwise(edges), itertools.pairwise(area(points, edges)), strict=True
    ):
        found = sum(start_s <= t_s < end_s for t_s in times)
        assert abs(found - (after - before)) < 6 * math.sqrt(after - before)


def test_nobody_arrives_where_the_curve_is_zero() -> None:
    """Between two bursts there is silence, and at a jump it ends at once."""
    points = ((0.0, 20.0), (2.0, 20.0), (2.0, 0.0), (8.0, 0.0), (8.0, 20.0), (10.0, 20.0))
    found = [a.t_s for a in arrivals(plan(("a", 0.0, 10.0, points)))]
    assert found and not [t for t in found if 2.0 < t < 8.0]
    assert any(t < 2.0 for t in found) and any(t > 8.0 for t in found)


def test_a_level_curve_and_a_rate_are_the_same_schedule() -> None:
    """A curve is no other kind of load: level, it gives the very arrivals of the plain rate."""
    level = ((0.0, 4.0), (7.0, 4.0), (30.0, 4.0))
    curved = arrivals(plan(("a", 10.0, 40.0, level)))
    plain = arrivals(plan(("a", 10.0, 40.0, 4.0)))
    assert [a.questions for a in curved] == [a.questions for a in plain]
    assert all(abs(one.t_s - other.t_s) < 1e-9 for one, other in zip(curved, plain, strict=True))


@given(curves(10.0), curves(10.0))
@settings(max_examples=30)
def test_a_curve_moves_no_arrival_of_another_phase(first: Points, second: Points) -> None:
    """Whatever shape the phase before takes, the phase after keeps its arrivals."""
    one = arrivals(plan(("climb", 0.0, 10.0, first), ("after", 10.0, 30.0, 3.0)))
    other = arrivals(plan(("climb", 0.0, 10.0, second), ("after", 10.0, 30.0, 3.0)))

    def after(found: tuple[Arrival, ...]) -> list[tuple[float, tuple[Question, ...]]]:
        return [(a.t_s, a.questions) for a in found if a.phase == "after"]

    assert after(one) == after(other) != []


def test_constant_arrivals_are_evenly_spaced() -> None:
    """Four a second are 250 ms apart, and the first comes half a gap in."""
    found = [a.t_s for a in arrivals(plan(("a", 0.0, 5.0, 4.0), spacing="constant"))]
    assert found[0] == 0.125 and len(found) == 20
    assert all(abs(b - a - 0.25) < 1e-9 for a, b in itertools.pairwise(found))
