"""`report.html`: the whole verdict on one page that opens without a network.

The verdict comes first, then why, then the picture, then the numbers, then what the run proved. The
page carries its styles, its scripts and its data in itself, and a content security policy that names the
scripts by their hashes: nothing else may run, and nothing may be fetched. Text from the bundle is
escaped by Jinja; the only links are to public incidents.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from slo.report import trees, wording
from slo.report.charts import script, timeline_chart
from slo.report.palette import SHADES, outcome_shade, swaps
from slo.timeline import Timeline
from slo.verdict import Objective, SegmentPhase, Verdict, Verdicts

FILE = "report.html"
BASELINE = "baseline"
_ISSUE = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100})#(\d{1,9})")


@dataclass(frozen=True, slots=True)
class ObjectiveGroup:
    """One objective over its phases; `verdict` is the worst of them, `lines` how many table rows it takes."""

    name: str
    segment: str
    indicator: str
    verdict: Verdicts
    rows: tuple[Objective, ...]
    lines: int


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment in one phase; `change` compares its p95 with the baseline's (`×31`)."""

    phase: str
    cell: SegmentPhase
    change: str
    slower: bool


@dataclass(frozen=True, slots=True)
class SegmentGroup:
    """One segment over all phases."""

    name: str
    rows: tuple[SegmentRow, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """How many answers of a phase ended in one way."""

    outcome: str
    shade: str
    count: int
    ratio: float


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """How the answers of a phase ended."""

    phase: str
    total: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A trace worth opening, and what it shows."""

    trace_id: str
    shows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """A public incident; `url` is empty when the text is not a reference to an issue."""

    text: str
    url: str


def render(verdict: Verdict, timeline: Timeline | None) -> str:
    """The page as text. Without a timeline (the run ended before there was one) it says so."""
    shown = wording.legible(verdict)
    chart = timeline_chart(timeline) if timeline and timeline.at_s else None
    library = script() if chart else ""
    own = _asset("report.js") if chart else ""
    environment = Environment(
        loader=PackageLoader("slo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        verdict=shown,
        judgement=wording.JUDGEMENTS[shown.verdict],
        judgements=wording.JUDGEMENTS,
        headline=wording.headline(shown),
        words=wording,
        trees=trees,
        policy=_policy(library, own),
        styles=Markup(_shades("light") + _dark() + _asset("report.css")),
        library=Markup(library),
        own=Markup(own),
        chart=chart,
        bucket_s=timeline.bucket_s if timeline else None,
        chart_json=Markup(chart.to_json()) if chart else "",
        swaps_json=Markup(json.dumps(swaps(), sort_keys=True)),
        started=_started(shown.run.started_at_s),
        phase_verdicts=_phase_verdicts(shown),
        objective_groups=objective_groups(shown.objectives),
        segment_groups=segment_groups(shown),
        outcome_rows=outcome_rows(shown),
        outcome_names=wording.ordered(
            {name for counts in shown.outcomes.values() for name in counts if counts[name]}, wording.OUTCOMES
        ),
        outcome_shade=outcome_shade,
        exemplars=exemplars(shown),
        environment_facts=_flat(shown.environment),
        incidents=[_incident(text) for text in shown.run.incidents],
    )


def objective_groups(objectives: Iterable[Objective]) -> list[ObjectiveGroup]:
    """Objectives by name, those in trouble first, otherwise in the order of the file."""
    rows: dict[tuple[str, str, str], list[Objective]] = {}
    for objective in objectives:
        rows.setdefault((objective.name, objective.segment, objective.indicator), []).append(objective)
    groups = [
        ObjectiveGroup(
            *key, wording.worst(one.verdict for one in found) or "pass", tuple(found), _lines(found)
        )
        for key, found in rows.items()
    ]
    return sorted(groups, key=lambda group: wording.SEVERITY[group.verdict])


def segment_groups(verdict: Verdict) -> list[SegmentGroup]:
    """Every segment in every phase, segments in the order an answer passes them."""
    phases = tuple(phase.name for phase in verdict.phases)
    groups = []
    for name in wording.ordered(verdict.segments, wording.SEGMENTS):
        cells = verdict.segments[name]
        base = cells.get(BASELINE)
        rows = []
        for phase in wording.ordered(cells, phases):
            change = _change(base, cells[phase]) if phase != BASELINE else None
            rows.append(SegmentRow(phase, cells[phase], _times(change), change is not None and change >= 1.5))
        groups.append(SegmentGroup(name, tuple(rows)))
    return groups


def outcome_rows(verdict: Verdict) -> list[OutcomeRow]:
    """How the answers of each phase ended, good endings first."""
    rows = []
    for phase in wording.ordered(verdict.outcomes, tuple(phase.name for phase in verdict.phases)):
        counts = verdict.outcomes[phase]
        total = sum(counts.values())
        shares = tuple(
            Share(name, outcome_shade(name), counts[name], counts[name] / total)
            for name in wording.ordered(counts, wording.OUTCOMES)
            if counts[name]
        )
        rows.append(OutcomeRow(phase, total, shares))
    return rows


def exemplars(verdict: Verdict) -> list[Exemplar]:
    """Each trace once, with everything it is an example of."""
    shows: dict[str, list[str]] = {}
    for objective in verdict.objectives:
        for trace_id in objective.exemplars:
            shows.setdefault(trace_id, []).append(f"{objective.name} in {objective.phase}")
    for assertion in verdict.assertions:
        for trace_id in assertion.exemplars:
            shows.setdefault(trace_id, []).append(assertion.name)
    return [Exemplar(trace_id, tuple(found)) for trace_id, found in shows.items()]


def _lines(rows: list[Objective]) -> int:
    return len(rows) + sum(row.verdict != "pass" for row in rows)


def _change(base: SegmentPhase | None, cell: SegmentPhase) -> float | None:
    if base is None or not base.p95_s or cell.p95_s is None:
        return None
    return cell.p95_s / base.p95_s if base.p95_s != float("inf") else None


def _times(change: float | None) -> str:
    if change is None:
        return ""
    if change == float("inf"):
        return "×∞"
    return f"×{change:.0f}" if change >= 9.95 else f"×{change:.1f}"


def _phase_verdicts(verdict: Verdict) -> dict[str, Verdicts | None]:
    return {
        phase.name: wording.worst(one.verdict for one in verdict.objectives if one.phase == phase.name)
        for phase in verdict.phases
    }


def _flat(content: dict[str, Any], prefix: str = "") -> list[wording.Fact]:
    found: list[wording.Fact] = []
    for key in sorted(content):
        if isinstance(content[key], dict):
            found += _flat(content[key], f"{prefix}{key} · ")
        else:
            fact = wording.fact(key, content[key])
            found.append(wording.Fact(prefix + fact.name, fact.content))
    return found


def _incident(text: str) -> Incident:
    found = _ISSUE.fullmatch(text)
    return Incident(text, f"https://github.com/{found[1]}/issues/{found[2]}" if found else "")


def _started(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in scripts if text) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shades(surroundings: str) -> str:
    pairs = (f"--{name}:{getattr(shade, surroundings)}" for name, shade in SHADES.items())
    return ":root{color-scheme:" + surroundings + ";" + ";".join(pairs) + "}\n"


def _dark() -> str:
    return "@media screen and (prefers-color-scheme:dark){" + _shades("dark") + "}\n"


def _asset(name: str) -> str:
    return (resources.files("slo.report") / "templates" / name).read_text(encoding="utf-8")
