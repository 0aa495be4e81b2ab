"""An objective for a phase that does not exist would never be asked, and would seem to hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.experiment import load_experiment
from slo.documents import DocumentError
from tests.unit.chaos.run.campaign.test_arms import FACTS

ANSWERED = {"name": "answered", "segment": "journey", "indicator": "good_ratio", "target": ">= 95%"}


@pytest.mark.parametrize("wrong", [{"phases": ["baselin"]}, {"in": {"baselin": ">= 90%"}}])
def test_a_phase_that_is_not_there_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    """With the line and the phase that was meant."""
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(FACTS | {"objectives": [ANSWERED | wrong]}))
    with pytest.raises(DocumentError, match=r"no phase is called 'baselin'.*did you mean baseline"):
        load_experiment(path)
    path.write_text(json.dumps(FACTS | {"objectives": [ANSWERED | {"phases": ["baseline"]}]}))
    load_experiment(path)


def test_the_default_objectives_may_speak_of_other_phases(tmp_path: Path) -> None:
    """A file of objectives serves experiments with and without a spike."""
    (tmp_path / "tiny.yaml").write_text(json.dumps(FACTS | {"objectives": "default"}))
    load_experiment(tmp_path / "tiny.yaml")
