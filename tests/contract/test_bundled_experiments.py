"""The catalogue keeps what it promises before anything runs: it is valid, it can be decided, and it can fail.

The schedule is seeded, so what a phase brings is known before it runs; an experiment that ends one sample
short of a verdict would be a waste of everybody's time.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from chaos.experiment import BUNDLED, LoadedExperiment, load_experiment
from chaos.experiment.needs import require_possible
from chaos.run.load import LoadFiles, plan_for
from journeys.plan import Plan
from journeys.questions import load_questions
from journeys.schedule import schedule
from rag_service.settings import known_names
from slo.statistics import minimum_samples, wilson
from slo.target import Target

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "journeys" / "golden_questions.jsonl"
QUESTIONS = {"ask": 1, "follow_up": 2, "impatient": 1, "paste": 1}
STREAMED = {"ask": 1, "follow_up": 0, "impatient": 1, "paste": 1}
HEADROOM = 1.05
LONGEST_S = 155.0
EVERY_ONE = pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)


def _per_phase(loaded: LoadedExperiment, folder: Path, each: dict[str, int]) -> Counter[str]:
    plan = Plan.model_validate(plan_for(loaded, "r", "http://127.0.0.1:1", LoadFiles.in_bundle(folder)))
    counts = Counter[str]()
    for arrival in schedule(plan, load_questions(GOLDEN), QUESTIONS):
        counts[arrival.phase] += each[arrival.journey]
    return counts


def _comment(path: Path) -> str:
    """The paragraph that stands before the first key."""
    lines = path.read_text().splitlines()
    first_key = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:first_key])


@EVERY_ONE
def test_each_says_what_it_proves_and_what_good_looks_like(path: Path) -> None:
    """A file that only a reader of its assertions understands teaches nobody anything."""
    comment = _comment(path)
    assert "good looks" in comment.lower(), comment
    assert "prove" in comment.lower(), comment


@EVERY_ONE
def test_each_can_run_on_the_local_stack(path: Path) -> None:
    """It has its file's name, an owner, a stop condition and an end, and needs nothing installed."""
    loaded = load_experiment(path)
    require_possible(loaded, "local", "simulator")
    assert loaded.experiment.name == path.stem
    assert loaded.experiment.owner
    assert loaded.experiment.stop_when
    assert loaded.experiment.duration_s <= LONGEST_S


@EVERY_ONE
def test_each_can_fail_or_says_why_not(path: Path) -> None:
    """A control switches settings that exist, and says what must have failed."""
    loaded = load_experiment(path)
    controls = loaded.experiment.negative_controls
    assert bool(controls) != ("no negative control" in _comment(path).lower())
    assert all(control.because for control in controls), "which failure it is must not be left to chance"
    settings = {key for control in controls for key in control.service} | set(loaded.experiment.service)
    assert {f"RAG_{key.replace('.', '__').upper()}" for key in settings} <= known_names()


@EVERY_ONE
def test_every_judged_phase_brings_enough_to_decide(path: Path, tmp_path: Path) -> None:
    """A percentile has its interval, and a ratio without one miss meets its target as a whole."""
    loaded = load_experiment(path)
    answers = _per_phase(loaded, tmp_path, QUESTIONS)
    streams = _per_phase(loaded, tmp_path, STREAMED)
    short = []
    for objective in loaded.objectives.objectives:
        percentile = re.fullmatch(r"(ttft_)?p(\d\d)", objective.indicator)
        for phase in (phase for phase in loaded.phases if phase.judged):
            target = objective.target_in(phase.name)
            if target is None:
                continue
            seen = streams[phase.name] if percentile and percentile[1] else answers[phase.name]
            if percentile and seen < minimum_samples(int(percentile[2]) / 100) * HEADROOM:
                short.append((objective.name, phase.name, seen))
            if objective.indicator.endswith("_ratio") and not _decidable(target, seen):
                short.append((objective.name, phase.name, seen))
    assert short == []


def _decidable(target: Target, seen: int) -> bool:
    if target.operator == "=":
        return seen >= 30
    return target.meets_whole(wilson(seen if target.operator == ">=" else 0, seen))


@EVERY_ONE
def test_a_recovery_phase_is_long_enough_to_see_a_recovery_fail(path: Path) -> None:
    """`<= 20s` with a hold of 10 s needs 30 s of watching after the last fault."""
    loaded = load_experiment(path)
    with_fault = [phase for phase in loaded.phases if phase.faults]
    for objective in loaded.objectives.objectives:
        if with_fault and objective.indicator == "recovery_time":
            target = objective.target_in(loaded.phases[-1].name)
            assert target is not None
            assert loaded.phases[-1].end_s - with_fault[-1].end_s >= target.bound + 10.0
