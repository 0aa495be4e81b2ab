"""What a suite file may say, and what is told of a wrong one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chaos.experiment.suite import BUNDLED, find_suite, load_suite
from chaos.run.campaign.budget import FRESH_S, SHARED_S
from chaos.run.campaign.suites import plan_suite
from chaos.run.options import RunOptions
from slo.documents import DocumentError

FACTS: dict[str, Any] = {"apiVersion": "ragquake/v1", "kind": "Suite", "name": "mine", "budget": "10m"}


def suite_of(folder: Path, *entries: dict[str, Any], **more: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(json.dumps({**FACTS, **more, "experiments": entries}))
    return path


def test_an_entry_is_the_experiment_with_its_changes(tmp_path: Path) -> None:
    """As with --set, and they stand among the overrides; the budget is a duration."""
    loaded = load_suite(suite_of(tmp_path, {"name": "steady", "set": {"phases.baseline.for": "20s"}}))
    assert loaded.suite.budget_s == 600
    [steady] = loaded.experiments
    assert steady.overrides == ("phases.baseline.for=20s",)
    assert next(one.end_s - one.start_s for one in steady.phases if one.name == "baseline") == 20


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"name": "stedy"}, "did you mean steady?"),
        ({"name": "./nowhere.yaml"}, "there is no such file"),
        ({"name": "steady", "control": True}, "steady has no negative_control to run"),
        ({"name": "steady", "set": {"phases.nothing.for": "2s"}}, "nothing is called 'nothing'"),
        ({"name": "steady", "sett": {}}, "unknown key"),
        ({}, "is required and is missing"),
    ],
)
def test_a_wrong_entry_is_told_with_its_line(tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    """Before anything starts, with the file and what is allowed or meant."""
    with pytest.raises(DocumentError) as refused:
        load_suite(suite_of(tmp_path, {"name": "steady"}, entry))
    [problem] = refused.value.problems
    assert told in problem and "mine.yaml:1: experiments[1]" in problem


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A suite of ten typos is not run ten times."""
    with pytest.raises(DocumentError) as refused:
        load_suite(suite_of(tmp_path, {"name": "one"}, {"name": "two"}))
    assert len(refused.value.problems) == 2


def test_an_unknown_suite_is_told_with_those_that_there_are() -> None:
    """By name; a path has to be there."""
    with pytest.raises(DocumentError, match=r"did you mean ci\?"):
        find_suite("cii")
    with pytest.raises(DocumentError, match="there is no such file"):
        find_suite("nowhere.yaml")


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_suite_fits_its_budget(path: Path) -> None:
    """As far as can be known beforehand: else it could never pass. Its name is its file's."""
    loaded = load_suite(path)
    plan = plan_suite(loaded, RunOptions())
    needs = [tuple(sorted(one.loaded.experiment.service.items())) for one in plan.runs]
    fresh = 1 + sum(before != after for before, after in pairwise(needs))
    load_s = sum(one.loaded.experiment.duration_s for one in plan.runs)
    assert load_s + fresh * FRESH_S + (len(needs) - fresh) * SHARED_S <= loaded.suite.budget_s
    assert loaded.suite.name == path.stem and plan.share
