"""An experiment's plan, as `run --dry-run` and `explain` show it: a timeline, and what each fault touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos.cli.timeline import LEAST_CELLS, MOST_CELLS, fault_row, phase_row
from chaos.experiment import LoadedExperiment
from chaos.run.forecast import Forecast, Touched, spans_of
from slo.units import format_duration, format_ratio

_BESIDE_THE_BARS = 40
"""Columns that times and rates take."""
_LONGEST_NAME = 20
WHO_UNDOES = (
    "Each is undone at its phase's end, and whenever the run ends before: by the run itself, by its warden "
    "where the run dies, by ragquake rollback where both are gone."
)


def show_experiment(loaded: LoadedExperiment, console: Console) -> None:
    """Its name, its claim, and its phases and faults on a timeline."""
    experiment = loaded.experiment
    _say(console, Text.assemble((experiment.name, "bold"), "  ", experiment.title))
    _say(console, Text(experiment.hypothesis))
    _say(console)
    _say(console, _timeline(loaded, console.width))
    _say(console)
    stops = [condition.sentence() for condition in experiment.stop_when]
    facts = {
        "faults": [_fault_line(loaded, name) for name in experiment.faults] or ["none"],
        "stops when": stops or ["never before its end"],
        "load": [_load(loaded)],
    }
    _say(console, _facts(facts))


def show_forecast(forecast: Forecast, console: Console) -> None:
    """What the run would touch, start and take, after its plan."""
    if forecast.faults:
        _say(console)
        _say(console, Text("What each fault touches", style="bold"))
    for touched in forecast.faults:
        _say(console, Text(f"{touched.fault}  ({touched.kind} on {touched.on}, {_when(touched)})"), 2)
        facts = {"acts on": [touched.acts_on], "touches": touched.touches, "undone": [touched.undone]}
        _say(console, _facts(facts), 4)
    if forecast.faults:
        _say(console, Text(WHO_UNDOES), 2)
    _say(console)
    _say(console, Text("What runs", style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for part in forecast.parts:
        grid.add_row(Text(part.name), Text(part.what), Text(part.address))
    _say(console, grid, 2)
    _say(console)
    known = "as the last runs here took" if forecast.around_is_measured else "a guess"
    total, load, around = (
        format_duration(round(seconds))
        for seconds in (forecast.load_s + forecast.around_s, forecast.load_s, forecast.around_s)
    )
    mix = ", ".join(f"{name} {format_ratio(round(share, 3))}" for name, share in forecast.journeys.items())
    facts = {
        "takes": [f"about {total}: {load} of load, {around} around it ({known})"],
        "arrivals": [f"about {forecast.arrivals:,.0f} journeys ({mix}), seed {forecast.seed}"],
        "changed": forecast.overrides,
        "declared, not used": forecast.unused_faults,
        "note": forecast.remarks,
    }
    _say(console, _facts(facts))
    _say(console, Text("Nothing was started, and no connection was opened.", style="dim"))


def _timeline(loaded: LoadedExperiment, width: int) -> Table:
    phases, total_s = loaded.phases, loaded.experiment.duration_s
    baseline = loaded.experiment.load.baseline_rate
    peak = max(rate for phase in phases for rate in (phase.rate_per_s, *(rate for _, rate in phase.curve)))
    names = [*(phase.name for phase in phases), *loaded.faults]
    name_width = min(_LONGEST_NAME, max(map(len, names)))
    cells = max(LEAST_CELLS, min(MOST_CELLS, width - _BESIDE_THE_BARS - name_width))
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column("phase", width=name_width, overflow="fold")
    grid.add_column(_axis(total_s, cells), no_wrap=True)
    grid.add_column("for", justify="right", no_wrap=True)
    grid.add_column("rate", justify="right", no_wrap=True)
    grid.add_column("arrivals/s", justify="right")
    grid.add_column("judged")
    for phase in phases:
        bar = phase_row(phase.start_s, phase.end_s, phase.rate_at, peak, total_s, cells)
        grid.add_row(
            Text(phase.name),
            Text(bar, style="cyan" if phase.judged else "dim"),
            Text(format_duration(phase.end_s - phase.start_s)),
            Text(f"{phase.rate_per_s / baseline:.3g}x"),
            Text(phase.rate_told),
            Text("" if phase.judged else "no"),
        )
    for name, fault in loaded.faults.items():
        spans = [(span.start_s, span.end_s) for span in spans_of(name, phases)]
        row = fault_row(spans, fault.over_time, total_s, cells)
        grid.add_row(Text(name), Text(row, style="yellow"))
    return grid


def _axis(total_s: float, cells: int) -> Text:
    end = format_duration(total_s)
    return Text("0 s" + " " * max(1, cells - 3 - len(end)) + end)


def _fault_line(loaded: LoadedExperiment, name: str) -> str:
    fault, written = loaded.faults[name], loaded.experiment.faults[name]
    given = ", ".join(f"{key}: {_flow(value)}" for key, value in written.items() if key not in ("on", "kind"))
    return f"{name}: {fault.kind} on {fault.on}" + (f", {given}" if given else "")


def _flow(value: Any) -> str:
    """A value as an experiment writes it in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)


def _load(loaded: LoadedExperiment) -> str:
    load = loaded.experiment.load
    mix = ", ".join(f"{name} {weight:g}" for name, weight in load.journeys.items())
    return f"{load.baseline_rate:g} arrivals/s at 1x; journeys {mix}"


def _when(touched: Touched) -> str:
    return " and ".join(f"{span.start_s:g} s to {span.end_s:g} s" for span in touched.spans)


def _facts(facts: Mapping[str, Iterable[str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, lines in facts.items():
        for place, line in enumerate(lines):
            grid.add_row(Text("" if place else name, style="dim"), Text(line))
    return grid


def _say(console: Console, content: Any = "", indent: int = 0) -> None:
    console.print(Padding(content, (0, 0, 0, indent), expand=False) if indent else content, highlight=False)
