"""The table of experiment x mechanism says what was measured and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench import catalogue
from bench.catalogue import Arm, Record, arms_of, judge_again, judged, records, table, verdict_in
from chaos.experiment import BUNDLED, NegativeControl, load_experiment
from slo.verdict import Verdict

OFF = NegativeControl(
    mechanism="resilience", service={"resilience": "off"}, expect="fail", because=("answered",)
)
AS_IT_STANDS = Arm("llm-down", (), "now")
CONTROL = Arm("llm-down", ("service.resilience=off",), "now", OFF)


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
        "expected": True,
    }
    return Record(**facts | changes)


def _verdict(verdict: str, *failed: str) -> Verdict:
    asserted = [{"name": one, "verdict": "fail", "message": f"{one} broke"} for one in failed]
    return Verdict.model_validate(
        {"verdict": verdict, "exit_code": 0, "run": {"id": "r"}, "assertions": asserted}
    )


def test_an_experiment_has_an_arm_as_it_stands_and_one_for_each_control() -> None:
    """Settings are written as `--set` takes them."""
    loaded = load_experiment(BUNDLED / "llm-slow-first-token.yaml")
    first, *controls = arms_of(loaded)
    assert not first.is_control and first.overrides == ()
    assert [arm.mechanism for arm in controls] == ["limit of the first token", "circuit breaker"]
    assert controls[0].overrides == ("service.generate.first_token_s=8", "service.generate.attempts=1")


@pytest.mark.parametrize(
    ("arm", "verdict", "expected"),
    [
        (AS_IT_STANDS, _verdict("pass"), True),
        (AS_IT_STANDS, _verdict("warn"), True),
        (AS_IT_STANDS, _verdict("inconclusive"), False),
        (CONTROL, _verdict("fail", "answered", "recovered"), True),
        (CONTROL, _verdict("fail", "recovered"), False),
        (CONTROL, _verdict("pass"), False),
        (CONTROL, _verdict("inconclusive", "answered"), False),
    ],
)
def test_a_control_must_fail_and_for_its_reason(arm: Arm, verdict: Verdict, expected: bool) -> None:
    """A control that fails by accident shows as little as one that passes."""
    record = judged(_record(arm, expected=not expected), arm, verdict)
    assert record.expected is expected and record.verdict == verdict.verdict


def test_what_was_not_run_or_has_changed_since_is_said() -> None:
    """Nobody reads a figure of another experiment, or none, as this one's."""
    lines = table([AS_IT_STANDS, CONTROL], {("llm-down", ""): _record(AS_IT_STANDS, digest="before")})
    assert lines.count("| not run |") == 2
    assert "pass" not in lines


def test_what_ended_otherwise_stands_out() -> None:
    """A control that passed is bold."""
    passed = _record(CONTROL, verdict="pass", failed=(), expected=False)
    assert "| **pass** |" in table([CONTROL], {("llm-down", "resilience"): passed})


def test_the_newest_record_of_an_arm_counts(tmp_path: Path) -> None:
    """Records are appended, so that an interrupted round loses nothing."""
    kept = tmp_path / "arms.jsonl"
    old, new = _record(AS_IT_STANDS, verdict="fail"), _record(AS_IT_STANDS)
    kept.write_text("".join(json.dumps(asdict(one)) + "\n" for one in (old, new)))
    assert records(kept) == {("llm-down", ""): new}
    assert records(tmp_path / "none") == {}


def test_a_verdict_of_another_run_is_not_taken(tmp_path: Path) -> None:
    """Where a run ended before its verdict, the one of the last run must not stand in for it."""
    _verdict("fail", "answered").write(tmp_path / "verdict.json")
    assert verdict_in(tmp_path) == _verdict("fail", "answered")
    assert verdict_in(tmp_path, since_s=(tmp_path / "verdict.json").stat().st_mtime + 1) is None
    assert verdict_in(tmp_path / "nothing") is None


def test_what_left_no_bundle_is_not_judged_again(tmp_path: Path) -> None:
    """Its record stays as it was: nothing is made up for a run of which nothing is left."""
    assert judge_again(AS_IT_STANDS, None, tmp_path) is None
    assert judge_again(AS_IT_STANDS, _record(AS_IT_STANDS), tmp_path) is None
    assert judge_again(AS_IT_STANDS, _record(AS_IT_STANDS, bundle="gone"), tmp_path) is None


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    """What is around it stays; a page without marks is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{catalogue.BEGIN}\nold\n{catalogue.END}\nbelow\n")
    catalogue.write_table(page, "new")
    assert page.read_text() == f"above\n{catalogue.BEGIN}\nnew\n{catalogue.END}\nbelow\n"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="nowhere to put"):
        catalogue.write_table(page, "new")
