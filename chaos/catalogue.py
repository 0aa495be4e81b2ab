"""What there is to choose from, as rows that the command prints as a table or as JSON."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.experiment import BUNDLED, LoadedExperiment, load_experiment
from chaos.faults import fault_kinds
from chaos.faults.fault import Need
from slo.documents import DocumentError
from slo.history import FILE, BreakingPoint, History
from slo.units import format_duration

Row = dict[str, Any]
NEEDS: Mapping[Need, str] = {
    "bytes": "needs: bytes; Toxiproxy or the built-in proxy",
    "requests": "needs: requests; the built-in proxy, which stands behind Toxiproxy where that is used",
    "answers": "needs: answers; the simulator, or the built-in proxy before another model server",
    "processes": "needs: processes; a part that ragquake started itself (--stack local, no --llm URL)",
    "simulator": "needs: the simulated model server (--stack local, --llm simulator)",
}


def experiment_rows() -> list[Row]:
    """The bundled experiments and those in ./chaos/experiments."""
    files = {
        path.stem: path for folder in (BUNDLED, Path("chaos/experiments")) for path in folder.glob("*.yaml")
    }
    rows = []
    for name, path in sorted(files.items()):
        try:
            loaded = load_experiment(path)
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


def fault_rows() -> list[Row]:
    """The kinds of faults."""
    return [
        {
            "kind": kind,
            "needs": fault.needs,
            "parameters": ", ".join(name for name in fault.model_fields if name not in ("on", "kind"))
            or "none",
            "what it does": (inspect.getdoc(fault) or "").splitlines()[0],
        }
        for kind, fault in sorted(fault_kinds().items())
    ]


def explain_fault(kind: str) -> str | None:
    """A fault kind's full text with its parameters, or None when there is no such kind."""
    fault = fault_kinds().get(kind)
    if fault is None:
        return None
    lines = [kind, "", inspect.getdoc(fault) or "", "", NEEDS[fault.needs], "", "parameters:"]
    for name, field in fault.model_fields.items():
        if name == "kind":
            continue
        default = "required" if field.is_required() else f"default {field.default!r}"
        lines.append(f"  {name}: {field.description or ''} ({default})")
    ramps = ", ".join(fault.ramps)
    lines += ["", "over time: flap: {on: 2s, off: 3s} puts it in and takes it out"]
    if ramps:
        lines.append(f"  ramp: {{PARAMETER: [FROM, TO], over: 30s}} moves one of: {ramps}")
    return "\n".join(lines)


def plan_rows(loaded: LoadedExperiment) -> list[Row]:
    """The phases of an experiment on its clock."""
    return [
        {
            "phase": phase.name,
            "from": f"{phase.start_s:g} s",
            "to": f"{phase.end_s:g} s",
            "arrivals/s": f"{phase.rate_per_s:g}",
            "faults": ", ".join(phase.faults) or "–",
            "judged": "yes" if phase.judged else "no",
        }
        for phase in loaded.phases
    ]


def history_rows(runs: Path) -> list[Row]:
    """Earlier verdicts and breaking points, the newest first."""
    history = History(runs / FILE)
    verdicts = [
        (one.started_at_s or 0.0, one.experiment, one.verdict, one.headline) for one in history.verdicts()
    ]
    points = [
        (one.found_at_s, f"{one.experiment} over {one.parameter}", "breaking point", _bracket(one))
        for one in history.breaking_points()
    ]
    return [
        {
            "when": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s)),
            "what": what,
            "verdict": verdict,
            "in short": short,
        }
        for at_s, what, verdict, short in sorted([*verdicts, *points], key=lambda row: -row[0])
    ]


def _bracket(point: BreakingPoint) -> str:
    good = "–" if point.last_good is None else format_duration(point.last_good)
    bad = "beyond" if point.first_bad is None else format_duration(point.first_bad)
    broke = f" ({point.broke_first})" if point.broke_first else ""
    return f"last good {good}, first bad {bad}{broke}"
