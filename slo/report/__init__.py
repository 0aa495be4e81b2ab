"""What a verdict looks like: a page, a JUnit file, a Markdown summary, and the terminal.

Every renderer takes the verdict alone (the page also takes the timeline) and gives text, with no clock
and no randomness, so that rendering a bundle again gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from slo.report import html, junit, markdown
from slo.timeline import Timeline
from slo.verdict import FILE, Verdict

__all__ = ["write"]


def write(bundle: Path, verdict: Verdict, timeline: Timeline | None = None) -> None:
    """Write `verdict.json`, `junit.xml`, `summary.md` and `report.html` into a bundle.

    Without a timeline the page has no picture and says so. A reader of the folder sees each old file or
    the new one, never a half.
    """
    verdict.write(bundle / FILE)
    _replace(bundle / junit.FILE, junit.render(verdict))
    _replace(bundle / markdown.FILE, markdown.render(verdict, html.FILE))
    _replace(bundle / html.FILE, html.render(verdict, timeline))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
