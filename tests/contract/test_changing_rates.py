"""A rate that changes, from the words of an experiment to the arrivals that the journeys will drive."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.experiment import load_experiment
from chaos.run.journal import Journal
from chaos.run.load import LoadFiles, plan_for
from chaos.run.run_facts import tell_plan
from journeys.plan import Plan, load_plan
from journeys.questions import Question
from journeys.schedule import arrivals_per_phase, schedule
from slo.bundle import read_json_lines
from slo.plan import read_plan

TEXT = """\
apiVersion: ragquake/v1
kind: Experiment
name: shapes
title: A load that changes
owner: somebody
hypothesis: It holds.
load: {baseline_rate: 3/s, arrivals: constant, journeys: {ask: 1}}
phases:
  - {name: baseline, for: 10s}
  - {name: climb, for: 60s, rate: {ramp: [1x, 10x]}}
  - {name: stairs, for: 60s, rate: {steps: [1x, 5x, 10x]}}
  - {name: day, for: 50s, rate: {sine: [1x, 4x], period: 20s}}
  - {name: bursts, for: 61s, rate: {burst: [1x, 10x], every: 10s, lasting: 2s}}
"""


def test_the_report_hears_how_a_rate_changes(tmp_path: Path) -> None:
    """From the experiment over the journal to the plan of reports; a rate that stays has no curve."""
    path = tmp_path / "shapes.yaml"
    path.write_text(TEXT)
    with Journal(tmp_path / "journal.jsonl") as journal:
        tell_plan(journal, load_experiment(path), {})
    told = {
        phase.name: phase.rate_told for phase in read_plan(read_json_lines(tmp_path / "journal.jsonl")).phases
    }
    assert told == {
        "baseline": "",
        "climb": "3 to 30",
        "stairs": "3, 15, 30",
        "day": "3 to 12 and back every 20 s",
        "bursts": "3, and 30 for 2 s every 10 s",
    }


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_the_generator_drives_what_the_experiment_plans(tmp_path: Path, arrivals: str) -> None:
    """The plan file is taken as it is written, and each phase gets as many arrivals as its mean promises."""
    path = tmp_path / "shapes.yaml"
    path.write_text(TEXT.replace("constant", arrivals))
    loaded = load_experiment(path)
    files = LoadFiles.in_bundle(tmp_path)
    raw = plan_for(loaded, "r", "http://127.0.0.1:1", files)
    files.plan.write_text(Plan.model_validate(raw).model_dump_json())
    plan = load_plan(files.plan)
    found = arrivals_per_phase(plan, schedule(plan, [Question("why?", ("a",))], {"ask": 1}))

    for phase in loaded.phases:
        expected = phase.rate_per_s * (phase.end_s - phase.start_s)
        slack = 0.51 if arrivals == "constant" else 6 * expected**0.5
        assert abs(found[phase.name] - expected) <= slack
