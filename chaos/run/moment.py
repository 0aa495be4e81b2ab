"""The run as it stands: what a display shows, and where in the plan that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.run.live import Figures


@dataclass(frozen=True, slots=True)
class Moment:
    """The run as it stands now."""

    phase: str
    elapsed_s: float
    left_s: float
    planned_rate_per_s: float
    figures: Figures
    faults: tuple[str, ...]
    breakers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the plan a phase stands."""

    number: int
    of: int
    start_s: float
    end_s: float
    rate_per_s: float
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """The phases of the run that is under way, by name."""

    places: dict[str, Place] = field(default_factory=dict)

    def read(self, entry: Mapping[str, Any]) -> None:
        """From the journal's `run.planned`."""
        phases = entry["phases"]
        self.places = {
            phase["name"]: Place(
                number,
                len(phases),
                float(phase["start_s"]),
                float(phase["end_s"]),
                float(phase["rate_per_s"]),
                tuple(phase["faults"]),
            )
            for number, phase in enumerate(phases, 1)
        }
