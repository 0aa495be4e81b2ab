"""The bundled experiments can be decided: their schedules bring enough samples for their objectives.

The schedule is seeded, so what a phase brings is known before it runs; an experiment that ends one sample
short of a verdict would be a waste of everybody's time.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chaos.experiment import BUNDLED, load_experiment
from chaos.run.load import LoadFiles, plan_for
from journeys.plan import Plan
from journeys.questions import load_questions
from journeys.schedule import schedule
from slo.statistics import minimum_samples

GOLDEN = Path(__file__).resolve().parents[2] / "journeys" / "golden_questions.jsonl"
STREAMED_PER_ARRIVAL = {"ask": 1, "follow_up": 0, "impatient": 1}
HEADROOM = 1.05


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_judged_phase_brings_enough_streams_for_a_p95(path: Path, tmp_path: Path) -> None:
    """First-token p95 is the hungriest of the default objectives: it counts streamed answers alone."""
    loaded = load_experiment(path)
    plan = Plan.model_validate(plan_for(loaded, "r", "http://127.0.0.1:1", LoadFiles.in_bundle(tmp_path)))
    questions = load_questions(GOLDEN)
    arrivals = schedule(plan, questions, {"ask": 1, "follow_up": 2, "impatient": 1})

    streamed = Counter[str]()
    for arrival in arrivals:
        streamed[arrival.phase] += STREAMED_PER_ARRIVAL[arrival.journey]

    needed = minimum_samples(0.95) * HEADROOM
    short = {p.name: streamed[p.name] for p in loaded.phases if p.judged and streamed[p.name] < needed}
    assert short == {}


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recovery_phase_is_long_enough_to_see_a_recovery_fail(path: Path) -> None:
    """`<= 30s` with a hold of 10 s needs 40 s of watching after the last fault."""
    loaded = load_experiment(path)
    with_fault = [phase for phase in loaded.phases if phase.faults]
    if with_fault:
        assert loaded.phases[-1].end_s - with_fault[-1].end_s >= 40.0
