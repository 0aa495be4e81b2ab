"""Objectives files: what they may say and how they complain."""

from __future__ import annotations

from pathlib import Path

import pytest

from slo import objectives
from slo.documents import DocumentError

HEAD = "apiVersion: ragquake/v1\nkind: Objectives\nobjectives:\n"


def complaint(tmp_path: Path, line: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "  - " + line + "\n")
    with pytest.raises(DocumentError) as caught:
        objectives.load(path)
    return str(caught.value)


def test_the_default_objectives_cover_the_promises_of_the_design():
    """Answered, honest, quick to the first token, well retrieved, recovered."""
    found = {one.name: one for one in objectives.load_default().objectives}
    assert {"answered", "honest-degradation", "first-token", "retrieve-p95", "recall", "recovered"} <= set(
        found
    )
    assert found["honest-degradation"].target == "= 0%"


def test_objectives_read_back_from_their_data():
    """What is copied into the bundle is what was read."""
    loaded = objectives.load_default()
    assert objectives.Objectives.model_validate(loaded.data()) == loaded


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{name: a, segment: serch, indicator: p95, target: '<= 1s'}", "did you mean search?"),
        ("{name: a, segment: search, indicator: p96, target: '<= 1s'}", "did you mean p9"),
        ("{name: a, segment: search, indicator: p95, target: '<= 1'}", "not a duration"),
        ("{name: a, segment: search, indicator: p95, target: '<= 1s', phase: x}", "unknown key"),
        ("{name: a, segment: search, indicator: ttft_p95, target: '<= 1s'}", "exists for journey only"),
        ("{name: a, segment: search, indicator: p95}", "is required"),
        ("{name: a, segment: search, indicator: p95, target: '<= 1s', in: {fault: 3}}", "3"),
    ],
)
def test_a_wrong_objective_is_named_with_its_line_and_what_is_allowed(tmp_path, line, expected):
    """File, line, key, value, allowed."""
    text = complaint(tmp_path, line)
    assert "mine.yaml:4: objectives[0]" in text
    assert expected in text


def test_two_objectives_cannot_share_a_name(tmp_path: Path):
    """A report could not tell them apart."""
    line = "{name: a, segment: search, indicator: p95, target: '<= 1s'}"
    assert "same name: a" in complaint(tmp_path, f"{line}\n  - {line}")


def test_in_replaces_the_target_and_phases_restricts():
    """Another target in some phases; none outside of `phases`."""
    (one,) = objectives.from_list(
        [{"name": "a", "segment": "search", "indicator": "p95", "target": "<= 1s", "in": {"fault": "<= 3s"},
          "phases": ["fault", "spike"]}]
    ).objectives  # fmt: skip
    assert one.target_in("fault").bound == 3.0
    assert one.target_in("spike").bound == 1.0
    assert one.target_in("recovery") is None
