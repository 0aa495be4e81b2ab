"""What happens in a run, in words: the journal's facts that a person wants to read as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.run.moment import Plan
from slo.units import format_duration


@dataclass(frozen=True, slots=True)
class Told:
    """A line, and the style that goes with it where there is colour."""

    text: str
    style: str = ""


def sentence(entry: Mapping[str, Any], plan: Plan) -> Told | None:
    """One fact in a line; None for what only machines want to know."""
    event = entry["event"]
    if event == "phase.started":
        return Told(f"▸ {entry['phase']}{_place(entry['phase'], plan)}", "bold")
    if event == "stack.ready":
        return Told(f"· the stack is ready after {format_duration(entry['took_s'])}")
    if event == "fault.verified":
        return Told(f"  fault {entry['fault']} is in, and was read back", "yellow")
    if event == "fault.verified_gone":
        return Told(f"  fault {entry['fault']} is out, and gone")
    if event == "stop.triggered":
        return Told(f"  stop condition: {entry['condition']}; observed {entry['observed']}", "bold red")
    if event == "barrier.failed":
        return Told(f"  spans may be missing: {entry['reason']}", "yellow")
    if event == "rollback.started":
        return Told("  rolling back what is left", "yellow")
    return None


def _place(name: str, plan: Plan) -> str:
    place = plan.places.get(name)
    if place is None:
        return ""
    faults = f", with {' and '.join(place.faults)}" if place.faults else ""
    lasts = format_duration(place.end_s - place.start_s)
    return f"  phase {place.number} of {place.of}: {place.rate_per_s:.3g} arrivals/s for {lasts}{faults}"
