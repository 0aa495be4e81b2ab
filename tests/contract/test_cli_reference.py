"""docs/reference/cli.md and events.md say what the command takes and writes, no more and no less."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from chaos.cli import reference
from chaos.run.events import EventStream
from chaos.run.live import Figures
from chaos.run.moment import Moment
from slo.verdict import Run, Verdict

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"


def documented_events() -> dict[str, set[str]]:
    """The facts of each event: the words in code that stand in no bracket."""
    rows = re.findall(r"^\| `([a-z.]+)` \| (.+) \|$", (DOCS / "events.md").read_text(), flags=re.MULTILINE)
    return {
        event: set(re.findall(r"`([a-z0-9_]+)`", re.sub(r"\([^()]*\)", "", told))) for event, told in rows
    }


def test_the_page_of_commands_is_as_it_is_made() -> None:
    """Every command, flag, default and example; python -m chaos.cli.reference makes it anew."""
    page = (DOCS / "cli.md").read_text()
    assert reference.page(page) == page, "run: python -m chaos.cli.reference"
    assert "`--dry-run`" in page and "## ragquake breaking-point" in page


def test_the_page_of_events_has_every_fact_of_the_stream() -> None:
    """What a machine reads is explained, and what is explained is there."""
    out = io.StringIO()
    stream = EventStream(out)
    stream.step("x")
    figures = Figures(1, 1.0, 0.0, 0.0, None)
    stream.moment(Moment("baseline", 1.0, 2.0, 3.0, figures, (), {}))
    verdict = Verdict(verdict="pass", exit_code=0, run=Run())
    stream.verdict(verdict, bundle="runs/x", status="completed", message="", exit_code=0)
    EventStream(out).error("x", 4)
    written = {
        one["event"]: set(one) - {"at_s", "event"} for one in map(json.loads, out.getvalue().splitlines())
    }
    told = documented_events()
    for event, facts in written.items():
        assert told[event] - {"null"} == facts, event
    assert set(told) == {*written, "campaign"}
