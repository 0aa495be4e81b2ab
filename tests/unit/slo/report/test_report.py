"""Writing a report: four files from a bundle, the same bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slo import report
from slo.bundle import BundleError
from slo.evaluator import evaluate
from slo.verdict import Verdict

FILES = ("junit.xml", "report.html", "summary.md", "verdict.json")


def read(bundle: Path) -> list[bytes]:
    return [(bundle / name).read_bytes() for name in FILES]


def test_a_judged_bundle_gets_four_files(tmp_path: Path, healthy: Any) -> None:
    """From spans and attempts to a page with the timeline of every segment; no part file stays behind."""
    bundle = healthy.write(tmp_path / "run")
    verdict = evaluate(bundle)
    before = {path.name for path in bundle.iterdir()}
    report.write(bundle, verdict)
    assert {path.name for path in bundle.iterdir()} - before == set(FILES)
    assert Verdict.read(bundle / "verdict.json") == Verdict.from_json(verdict.to_json())
    assert 'id="timeline-data"' in (bundle / "report.html").read_text(encoding="utf-8")


def test_writing_again_changes_no_byte(tmp_path: Path, healthy: Any) -> None:
    """Evaluating and rendering have no clock and no randomness: a second report equals the first."""
    bundle = healthy.write(tmp_path / "run")
    report.write(bundle, evaluate(bundle))
    first = read(bundle)
    report.write(bundle, evaluate(bundle))
    assert read(bundle) == first


def test_a_verdict_read_back_gives_the_same_report(tmp_path: Path, healthy: Any) -> None:
    """What the file rounds does not show in any text, so reports can be made from the file alone."""
    bundle = healthy.write(tmp_path / "run")
    report.write(bundle, evaluate(bundle))
    first = read(bundle)
    report.write(bundle, Verdict.read(bundle / "verdict.json"))
    assert read(bundle) == first


def test_a_run_that_died_at_once_still_gets_its_report(tmp_path: Path) -> None:
    """A journal with one line is a bundle: the report says that there is nothing to see."""
    (tmp_path / "journal.jsonl").write_text('{"at_s": 1.0, "event": "run.started", "run_id": "x"}\n')
    report.write(tmp_path, evaluate(tmp_path))
    assert "There is no timeline" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path, verdict: Verdict) -> None:
    """Nothing is written into a folder that no run has made."""
    with pytest.raises(BundleError, match=r"journal\.jsonl"):
        report.write(tmp_path, verdict)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("end_s", "width_s"), [(150.0, 1.0), (1800.0, 1.0), (1801.0, 2.0), (86_400.0, 60.0)])
def test_long_runs_are_drawn_in_wider_steps(verdict: Verdict, end_s: float, width_s: float) -> None:
    """The page stays light however long a run is: never more than 1,800 points a line."""
    last = verdict.phases[-1].model_copy(update={"end_s": end_s})
    assert report.bucket_s(verdict.model_copy(update={"phases": (last,)})) == width_s
