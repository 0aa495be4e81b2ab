"""The timeline of a run as one Bokeh document that can stand inside a page.

Bokeh, since its script ships in its wheel and is small enough (1.3 MB) to be put into the page whole. No
callback is used, so the page can forbid `eval`; and ids, which Bokeh counts up per process, are renumbered,
so that the same run gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.resources import Resources

from slo.report import wording
from slo.report.rows import Rows
from slo.timeline import Timeline

GAP_PX = 5


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart ready to embed: Bokeh's JSON document, the id of its root, and the height it will take."""

    document: dict[str, Any]
    root: str
    height_px: int

    def to_json(self) -> str:
        """JSON that can stand inside a script element, whatever names a run has given to things."""
        # keys keep Bokeh's order: a model must be defined before it is referred to
        text = json.dumps({"document": self.document, "root": self.root})
        return text.replace("<", "\\u003c")


def script() -> str:
    """Bokeh's own script, as its wheel ships it."""
    return "\n".join(Resources(mode="inline", components=["bokeh"], minified=True, log_level="warn").js_raw)


def timeline_chart(timeline: Timeline) -> Chart:
    """The whole timeline, top to bottom: lanes, one row per segment, outcomes."""
    build = Rows(timeline)
    rows = [build.lanes()]
    for name in wording.ordered(timeline.segments, wording.SEGMENTS):
        rows.append(build.segment(name, timeline.segments[name]))
    rows.append(build.outcomes())
    document = Document(title="timeline")
    document.add_root(column(*rows, sizing_mode="stretch_width", spacing=GAP_PX))
    renumber = _Renumber()
    plain = renumber.walk(document.to_json(deferred=False))
    return Chart(plain, plain["roots"][0]["id"], sum(row.height + GAP_PX for row in rows))


class _Renumber:
    """Replaces the ids of models by their order of appearance."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def walk(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: self._number(item) if key == "id" and isinstance(item, str) else self.walk(item)
                for key, item in node.items()
            }
        if isinstance(node, list | tuple):
            return [self.walk(item) for item in node]
        return node

    def _number(self, old: str) -> str:
        return self._known.setdefault(old, f"m{len(self._known)}")
