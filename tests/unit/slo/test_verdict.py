"""The canonical JSON of a verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from slo.verdict import EXIT_CODES, Recovery, Run, SegmentPhase, Verdict


def made(**more) -> Verdict:
    return Verdict(verdict="pass", exit_code=0, run=Run(id="r"), **more)


def test_infinity_survives_strict_json():
    """A percentile among failures is written as text and read as a number."""
    cell = SegmentPhase(count=2, errors=2, p95_s=math.inf, p95_interval_s=(1.0, math.inf))
    text = made(segments={"search": {"fault": cell}}).to_json()
    assert json.loads(text)["segments"]["search"]["fault"]["p95_s"] == "Infinity"
    assert Verdict.from_json(text).segments["search"]["fault"].p95_s == math.inf


def test_equal_verdicts_have_equal_bytes(tmp_path: Path):
    """The order in which parts were found does not show, and floats have six digits."""
    one = made(recovery={"b": Recovery(value_s=1 / 3), "a": Recovery()})
    two = made(recovery={"a": Recovery(), "b": Recovery(value_s=0.3333333)})
    assert one.to_json() == two.to_json()
    one.write(tmp_path / "verdict.json")
    assert (tmp_path / "verdict.json").read_text() == one.to_json()
    assert Verdict.read(tmp_path / "verdict.json").to_json() == one.to_json()
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.json"]


def test_unknown_keys_and_other_schemas_are_refused():
    """A reader never quietly skips what it does not know."""
    plain = json.loads(made().to_json())
    for change in ({"surprise": 1}, {"schema": "ragquake/verdict/v2"}, {"verdict": "maybe"}):
        with pytest.raises(ValidationError):
            Verdict.from_json(json.dumps(plain | change))


def test_every_verdict_has_its_exit_code():
    """Warnings pass; inconclusive is not failure."""
    assert EXIT_CODES == {"pass": 0, "warn": 0, "fail": 1, "inconclusive": 3, "error": 4}
