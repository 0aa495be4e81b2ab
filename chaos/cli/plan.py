"""An experiment's plan, as `run --dry-run` and `explain` show it."""

from __future__ import annotations

import json

from rich.markup import escape

from chaos.catalogue import plan_rows, planned_fault_rows
from chaos.cli.shared import console, show_rows
from chaos.experiment import LoadedExperiment
from slo.units import format_duration


def show_plan(loaded: LoadedExperiment, as_json: bool) -> None:
    """Title, hypothesis, faults and phases; or the phases as JSON."""
    rows = plan_rows(loaded)
    if as_json:
        print(json.dumps({"experiment": loaded.experiment.name, "phases": rows}, indent=1))
        return
    console.print(f"[bold]{loaded.experiment.name}[/]  {escape(loaded.experiment.title)}", highlight=False)
    console.print(escape(loaded.experiment.hypothesis), highlight=False)
    if loaded.faults:
        show_rows(planned_fault_rows(loaded), as_json=False)
        console.print()
    show_rows(rows, as_json=False)
    console.print(f"valid; {format_duration(loaded.experiment.duration_s)} of load", highlight=False)
