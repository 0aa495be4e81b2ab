"""What there is to choose from, as rows that the command prints as a table or as JSON."""

from __future__ import annotations

import inspect
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic.fields import FieldInfo

from chaos.experiment import BUNDLED, AbstractExperimentError, load_experiment
from chaos.experiment.suite import BUNDLED as SUITES
from chaos.experiment.suite import Suite
from chaos.faults import fault_kinds
from chaos.faults.fault import Label, Need
from slo.documents import DocumentError, did_you_mean, read_document
from slo.units import format_duration, format_ratio

if TYPE_CHECKING:
    from slo.history import BreakingPoint

Row = dict[str, Any]
NEEDS: Mapping[Need, str] = {
    "bytes": "needs: bytes; Toxiproxy or the built-in proxy",
    "requests": "needs: requests; the built-in proxy, which stands behind Toxiproxy where that is used",
    "answers": "needs: answers; the simulator, or the built-in proxy before another model server",
    "processes": "needs: processes; a part that ragquake started itself (--stack local, no --llm URL)",
    "simulator": "needs: the simulated model server (--stack local, --llm simulator)",
}

_LABELS = tuple(f"{label}: " for label in get_args(Label))


def experiment_rows() -> list[Row]:
    """The bundled experiments and those in ./chaos/experiments."""
    rows = []
    for name, path in sorted(_experiment_files().items()):
        try:
            loaded = load_experiment(path)
        except AbstractExperimentError:
            continue
        except DocumentError as error:
            rows.append(
                {"name": name, "takes": "–", "faults": "–", "title": f"not valid: {error.problems[0]}"}
            )
            continue
        rows.append(
            {
                "name": name,
                "takes": format_duration(loaded.experiment.duration_s),
                "faults": ", ".join(loaded.experiment.faults) or "none",
                "title": loaded.experiment.title,
            }
        )
    return rows


def suite_rows() -> list[Row]:
    """The bundled suites and those in ./chaos/suites."""
    files = {path.stem: path for folder in (SUITES, Path("chaos/suites")) for path in folder.glob("*.yaml")}
    rows = []
    for name, path in sorted(files.items()):
        try:
            suite = read_document(path).validate(Suite)
        except DocumentError as error:
            rows.append(
                {"name": name, "budget": "–", "experiments": "–", "title": f"not valid: {error.problems[0]}"}
            )
            continue
        named = ", ".join(entry.name for entry in suite.experiments)
        rows.append(
            {
                "name": name,
                "budget": format_duration(suite.budget_s),
                "experiments": named,
                "title": suite.title,
            }
        )
    return rows


def _experiment_files() -> dict[str, Path]:
    """By name; one's own comes before a bundled one of the same name."""
    return {
        path.stem: path for folder in (BUNDLED, Path("chaos/experiments")) for path in folder.glob("*.yaml")
    }


def fault_rows() -> list[Row]:
    """The kinds of faults, by what they act on."""
    places = get_args(Need)
    return [
        {
            "kind": kind,
            "needs": fault.needs,
            "parameters": ", ".join(name for name in fault.model_fields if name not in ("on", "kind"))
            or "none",
            "what it does": (inspect.getdoc(fault) or "").splitlines()[0],
        }
        for kind, fault in sorted(
            fault_kinds().items(), key=lambda item: (places.index(item[1].needs), item[0])
        )
    ]


def explain_fault(kind: str, width: int = 80) -> str | None:
    """A fault kind's full text with its parameters, or None when there is no such kind."""
    fault = fault_kinds().get(kind)
    if fault is None:
        return None
    told = _filled(inspect.getdoc(fault) or "", width)
    lines = [kind, "", *told, textwrap.fill(NEEDS[fault.needs], width), "", "parameters:"]
    for name, field in fault.model_fields.items():
        if name != "kind":
            default = "required" if field.is_required() else f"default {_written(field)}"
            lines.append(_hanging(f"  {name}: {field.description or ''} ({default})", width))
    lines += ["", "over time:", "  flap: {on: 2s, off: 3s} puts it in and takes it out"]
    if fault.ramps:
        moved = ", ".join(fault.ramps)
        lines.append(_hanging(f"  ramp: {{PARAMETER: [FROM, TO], over: 30s}} moves one of: {moved}", width))
    return "\n".join(lines)


def _filled(text: str, width: int) -> Iterator[str]:
    """A docstring's paragraphs in another width; what is indented (an example to copy) stays as it is."""
    for block in text.split("\n\n"):
        lines = block.splitlines()
        starts = [place for place, line in enumerate(lines) if place == 0 or line.startswith(_LABELS)]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            paragraph = "\n".join(lines[start:end])
            yield paragraph if paragraph.startswith(" ") else textwrap.fill(paragraph, width)
        yield ""


def _hanging(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="    ", break_on_hyphens=False)


def _written(field: FieldInfo) -> str:
    """A default as an experiment writes it: among numbers with a point, what ends at 1 is a ratio."""
    default = field.default
    if default is None:
        return "none"
    if isinstance(default, float):
        is_ratio = any(getattr(bound, "le", None) == 1.0 for bound in field.metadata)
        return (format_ratio if is_ratio else format_duration)(default).replace(" ", "")
    return str(default)


def nearest_of(name: str) -> str:
    """What to say of a name that is neither a kind of fault nor an experiment's."""
    near = did_you_mean(name, [*fault_kinds(), *_experiment_files()])
    where = "ragquake list faults and ragquake list experiments show what there is"
    return f"no fault and no experiment is called {name!r}{near}; {where}"


def history_rows(runs: Path) -> list[Row]:
    """Earlier verdicts, of single runs and of those that belonged together, and breaking points, the newest
    first."""
    from slo.history import FILE, History  # its database is for those who ask for it

    history = History(runs / FILE)
    verdicts = [
        (one.started_at_s or 0.0, one.experiment, one.verdict, one.headline) for one in history.verdicts()
    ]
    points = [
        (one.found_at_s, f"{one.experiment} over {one.parameter}", "breaking point", _bracket(one))
        for one in history.breaking_points()
    ]
    together = [
        (one.started_at_s, f"{one.name}, {len(one.runs)} runs", one.verdict, one.headline)
        for one in history.campaigns()
    ]
    return [
        {
            "when": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s)),
            "what": what,
            "verdict": verdict,
            "in short": short,
        }
        for at_s, what, verdict, short in sorted([*verdicts, *points, *together], key=lambda row: -row[0])
    ]


def _bracket(point: BreakingPoint) -> str:
    good = "–" if point.last_good is None else format_duration(point.last_good)
    bad = "beyond" if point.first_bad is None else format_duration(point.first_bad)
    broke = f" ({point.broke_first})" if point.broke_first else ""
    return f"last good {good}, first bad {bad}{broke}"
