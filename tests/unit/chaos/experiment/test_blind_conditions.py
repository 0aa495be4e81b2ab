"""A stop condition that could see nothing on a stack is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chaos.experiment import LoadedExperiment, load_experiment
from chaos.experiment.needs import require_possible
from chaos.run.options import RunOptions
from slo.documents import DocumentError
from slo.segments import default_table

EXPERIMENT = """
apiVersion: ragquake/v1
kind: Experiment
name: mine
title: Any
owner: tests
hypothesis: Any.
load: {baseline_rate: 1/s, journeys: {ask: 1}}
phases: [{name: baseline, for: 1s}]
stop_when:
  - {segment: journey, indicator: error_ratio, above: 50%, for: 10s}
  - {segment: search, indicator: p95, above: 1s, for: 10s}
"""
TARGET = """
apiVersion: ragquake/v1
kind: Target
name: mine
service: {url: http://127.0.0.1:8080}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedExperiment:
    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    return load_experiment(tmp_path / "mine.yaml")


def test_spans_that_come_when_the_run_is_over_watch_over_nothing(loaded: LoadedExperiment) -> None:
    """Containers hand theirs to a collector's files, so only what users see can stop such a run."""
    require_possible(loaded, "local", "simulator")
    with pytest.raises(DocumentError, match=r"mine\.yaml:12.*search would see nothing.*allowed: journey"):
        require_possible(loaded, "compose", "simulator")


def test_a_segment_that_a_target_does_not_have_watches_over_nothing(
    loaded: LoadedExperiment, tmp_path: Path
) -> None:
    """The target's own segment table says what there is to be seen."""
    (tmp_path / "target.yaml").write_text(TARGET)
    target = RunOptions(stack=str(tmp_path / "target.yaml")).target
    assert target is not None
    whole = default_table()
    less = whole.model_copy(
        update={"segments": {name: one for name, one in whole.segments.items() if name != "search"}}
    )
    require_possible(loaded, "local", "simulator", replace(target, table=whole))
    with pytest.raises(DocumentError, match="search would see nothing: the segment table"):
        require_possible(loaded, "local", "simulator", replace(target, table=less))
