"""The table of experiment x mechanism says what was measured and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import catalogue
from bench.catalogue import Arm, Judgement, Record, arms_of, as_expected, judgement, records, table
from chaos.experiment import BUNDLED, load_experiment

AS_IT_STANDS = Arm("llm-down", "", (), (), "now")
CONTROL = Arm("llm-down", "resilience", ("service.resilience=off",), ("answered",), "now")


def _record(arm: Arm, **changes: Any) -> Record:
    facts: dict[str, Any] = {
        "experiment": arm.experiment,
        "mechanism": arm.mechanism,
        "digest": "now",
        "verdict": "fail" if arm.is_control else "pass",
        "failed": ("answered",) if arm.is_control else (),
        "said": "",
        "took_s": 120.0,
        "at": "2026-11-22 23:00",
        "command": "ragquake run llm-down",
        "bundle": "",
    }
    return Record(**facts | changes)


def _judged(verdict: str, *failed: str) -> Judgement:
    return Judgement(verdict, failed, "", "")


def test_an_experiment_has_an_arm_as_it_stands_and_one_for_each_control() -> None:
    """Settings are written as `--set` takes them."""
    loaded = load_experiment(BUNDLED / "llm-slow-first-token.yaml")
    first, *controls = arms_of(loaded)
    assert not first.is_control and first.overrides == ()
    assert [arm.mechanism for arm in controls] == ["limit of the first token", "circuit breaker"]
    assert controls[0].overrides == ("service.generate.first_token_s=8", "service.generate.attempts=1")


@pytest.mark.parametrize(
    ("arm", "judged", "expected"),
    [
        (AS_IT_STANDS, _judged("pass"), True),
        (AS_IT_STANDS, _judged("warn"), True),
        (AS_IT_STANDS, _judged("inconclusive"), False),
        (CONTROL, _judged("fail", "answered", "recovered"), True),
        (CONTROL, _judged("fail", "recovered"), False),
        (CONTROL, _judged("pass"), False),
        (CONTROL, _judged("inconclusive", "answered"), False),
    ],
)
def test_a_control_must_fail_and_for_its_reason(arm: Arm, judged: Judgement, expected: bool) -> None:
    """A control that fails by accident shows as little as one that passes."""
    assert as_expected(arm, judged) is expected


def test_what_was_not_run_or_has_changed_since_is_said() -> None:
    """Nobody reads a figure of another experiment, or none, as this one's."""
    lines = table([AS_IT_STANDS, CONTROL], {("llm-down", ""): _record(AS_IT_STANDS, digest="before")})
    assert lines.count("| not run |") == 2
    assert "pass" not in lines


def test_what_ended_otherwise_stands_out() -> None:
    """A control that passed is bold."""
    passed = _record(CONTROL, verdict="pass", failed=())
    assert "| **pass** |" in table([CONTROL], {("llm-down", "resilience"): passed})


def test_the_newest_record_of_an_arm_counts(tmp_path: Path) -> None:
    """Records are appended, so that an interrupted round loses nothing."""
    kept = tmp_path / "arms.jsonl"
    old, new = _record(AS_IT_STANDS, verdict="fail"), _record(AS_IT_STANDS)
    kept.write_text("".join(json.dumps(catalogue.asdict(one)) + "\n" for one in (old, new)))
    assert records(kept) == {("llm-down", ""): new}
    assert records(tmp_path / "none") == {}


def test_a_verdict_of_another_run_is_not_taken(tmp_path: Path) -> None:
    """Where a run ended before its verdict, the one of the last run must not stand in for it."""
    failed = {"name": "answered", "verdict": "fail", "message": "80 %"}
    document = {"verdict": "fail", "objectives": [failed], "assertions": [], "gates": [], "run": {"id": "r"}}
    (tmp_path / "verdict.json").write_text(json.dumps(document))
    assert judgement(tmp_path) == Judgement("fail", ("answered",), "80 %", "r")
    assert judgement(tmp_path, since_s=(tmp_path / "verdict.json").stat().st_mtime + 1) is None
    assert judgement(tmp_path / "nothing") is None


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    """What is around it stays; a page without marks is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{catalogue.BEGIN}\nold\n{catalogue.END}\nbelow\n")
    catalogue.write_table(page, "new")
    assert page.read_text() == f"above\n{catalogue.BEGIN}\nnew\n{catalogue.END}\nbelow\n"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="nowhere to put"):
        catalogue.write_table(page, "new")
