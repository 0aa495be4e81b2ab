"""The plan file: everything wrong with it is found before the first request, and said plainly."""

import json
from pathlib import Path
from typing import Any

import pytest

from journeys.plan import Plan, PlanError, load_plan


def raw(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "r-1",
        "target": "http://127.0.0.1:8080",
        "seed": 1,
        "phases": [
            {"name": "baseline", "start_s": 10.0, "end_s": 40.0, "rate_per_s": 2.0},
            {"name": "spike", "start_s": 45.0, "end_s": 60.0, "rate_per_s": 20.0},
        ],
        "journeys": {"ask": 7, "follow_up": 3},
        "max_in_flight": 2000,
        "patience_s": 10.0,
        "drain_s": 15.0,
        "questions": None,
        "attempts": "out/attempts.jsonl",
        "ready": "out/journeys.ready",
        "start": "out/journeys.start",
    } | changes


def load(tmp_path: Path, content: Any) -> Plan:
    path = tmp_path / "plan.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_plan(path)


def phase(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "start_s": 0, "end_s": 10, "rate_per_s": 1} | changes


def test_the_plan_of_the_design_note_is_accepted(tmp_path: Path) -> None:
    """The example of docs/design/0001, section 3, loads as written there."""
    plan = load(tmp_path, raw())
    assert plan.end_s == 60.0
    assert plan.journeys == {"ask": 7, "follow_up": 3}
    assert plan.ready == Path("out/journeys.ready")


@pytest.mark.parametrize(
    ("offset_s", "name"),
    [(9.9, None), (10.0, "baseline"), (39.99, "baseline"), (40.0, None), (45.0, "spike"), (60.0, None)],
)
def test_a_phase_holds_its_start_and_not_its_end(tmp_path: Path, offset_s: float, name: str | None) -> None:
    """An offset belongs to one phase at most; between and after the phases to none."""
    assert load(tmp_path, raw()).phase_at(offset_s) == name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": 3}, "rate: Extra inputs"),
        ({"target": "127.0.0.1:8080"}, "http://HOST:PORT"),
        ({"target": "ftp://host"}, "'ftp://host' is not an address"),
        ({"target": "http://user@host"}, "nothing else"),
        ({"journeys": {}}, "journeys"),
        ({"journeys": {"ask": 0}}, "journeys.ask: Input should be greater than 0"),
        ({"patience_s": 0}, "patience_s"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"phases": []}, "phases"),
        ({"phases": [phase(end_s=0)]}, "end_s"),
        ({"phases": [phase(start_s=20)]}, "must be greater than start_s"),
        ({"phases": [phase(rate_per_s=-1)]}, "phases.0.rate_per_s"),
        ({"phases": [phase(), phase(start_s=10, end_s=20)]}, "'a' is there twice"),
        ({"phases": [phase(), phase(name="b", start_s=9, end_s=20)]}, "let none overlap"),
        ({"phases": [phase(rate_per_s=9000, end_s=1000)]}, "at most 1,000,000"),
        ({"arrivals": "bursty"}, "'poisson' or 'constant'"),
        ({"phases": [phase(curve=[[0, 1], [9, 1]])]}, "from 0 s to 9 s"),
        ({"phases": [phase(curve=[[1, 1], [10, 1]])]}, "must ascend from 0 s"),
        ({"phases": [phase(curve=[[0, 1], [7, 1], [3, 1], [10, 1]])]}, "must ascend"),
        ({"phases": [phase(curve=[[0, 1], [10, 3]])]}, "the mean of its curve is 2"),
        ({"phases": [phase(curve=[[0, -1], [10, 3]])]}, "phases.0.curve.0.1"),
    ],
)
def test_a_wrong_plan_says_which_value_and_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """A refused plan names the file and the value at fault."""
    with pytest.raises(PlanError) as caught:
        load(tmp_path, raw(**changes))
    assert words in str(caught.value)
    assert "plan.json" in str(caught.value)


def test_a_plan_that_is_not_json_is_a_plan_error(tmp_path: Path) -> None:
    """Half a file is refused as a plan, with its name."""
    with pytest.raises(PlanError, match=r"plan\.json is wrong"):
        load(tmp_path, '{"run_id": ')


def test_a_missing_plan_is_a_plan_error(tmp_path: Path) -> None:
    """A path that leads nowhere is named."""
    with pytest.raises(PlanError, match=r"nowhere\.json: No such file"):
        load_plan(tmp_path / "nowhere.json")
