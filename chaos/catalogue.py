"""What there is to choose from, as rows that the command prints as a table or as JSON."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from chaos.experiment import BUNDLED, LoadedExperiment, load_experiment
from chaos.faults import fault_kinds
from slo import history
from slo.documents import DocumentError
from slo.units import format_duration

Row = dict[str, Any]


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
    lines = [kind, "", inspect.getdoc(fault) or "", "", "parameters:"]
    for name, field in fault.model_fields.items():
        if name == "kind":
            continue
        default = "required" if field.is_required() else f"default {field.default!r}"
        lines.append(f"  {name}: {field.description or ''} ({default})")
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
    return history.rows(runs / "history.duckdb")
