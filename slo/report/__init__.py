"""What a verdict looks like: a page, a JUnit file, a Markdown summary, and the terminal.

Every renderer takes the verdict alone (the page also takes the timeline) and gives text, with no clock
and no randomness, so that rendering a bundle again gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from slo import timeline
from slo.report import html, junit, markdown
from slo.verdict import FILE, Verdict

__all__ = ["write"]

MOST_BUCKETS = 1800
"""More points than a screen has pixels only make the page heavy."""
BUCKETS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


def write(bundle: Path, verdict: Verdict) -> None:
    """Write `verdict.json`, `junit.xml`, `summary.md` and `report.html` into a bundle.

    The three are made from the verdict as its file holds it, rounded, so that they can be made again from
    the file alone. A reader of the folder sees each old file or the new one, never a half.
    Raises BundleError when the folder is not a bundle.
    """
    picture = timeline.compute(bundle, bucket_s(verdict))
    verdict.write(bundle / FILE)
    verdict = Verdict.read(bundle / FILE)
    _replace(bundle / junit.FILE, junit.render(verdict))
    _replace(bundle / markdown.FILE, markdown.render(verdict, html.FILE))
    _replace(bundle / html.FILE, html.render(verdict, picture))


def bucket_s(verdict: Verdict) -> float:
    """How much time one point of the picture covers: a second, or more in a run of more than half an hour."""
    end_s = max((phase.end_s for phase in verdict.phases), default=0.0)
    return next((width_s for width_s in BUCKETS_S if end_s <= width_s * MOST_BUCKETS), BUCKETS_S[-1])


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
