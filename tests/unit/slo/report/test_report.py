"""Writing a report: four files, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

from slo import report
from slo.timeline import Timeline
from slo.verdict import Verdict

FILES = ["junit.xml", "report.html", "summary.md", "verdict.json"]


def test_four_files_and_nothing_else(tmp_path: Path, verdict: Verdict, timeline: Timeline) -> None:
    """The bundle gets its verdict, its JUnit, its summary and its page; no part file stays behind."""
    report.write(tmp_path, verdict, timeline)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert Verdict.read(tmp_path / "verdict.json") == Verdict.from_json(verdict.to_json())


def test_writing_again_changes_no_byte(tmp_path: Path, verdict: Verdict, timeline: Timeline) -> None:
    """Rendering has no clock and no randomness: a second report replaces the first with itself."""
    report.write(tmp_path, verdict, timeline)
    first = [(tmp_path / name).read_bytes() for name in FILES]
    report.write(tmp_path, verdict, timeline)
    assert [(tmp_path / name).read_bytes() for name in FILES] == first


def test_a_verdict_read_back_gives_the_same_report(tmp_path: Path, verdict: Verdict) -> None:
    """What was rounded for the file does not show in the text, so reports can be made from the file alone."""
    report.write(tmp_path, Verdict.from_json(verdict.to_json()))
    first = (tmp_path / "summary.md").read_bytes()
    report.write(tmp_path, Verdict.read(tmp_path / "verdict.json"))
    assert (tmp_path / "summary.md").read_bytes() == first
