"""Faults that change over time: `ramp` moves one parameter, `flap` puts the fault in and takes it out.

Pure state: what a schedule wants is a function of the seconds since the fault's phase began, so a runner that
was late (a part took long to start) does what is due now and never repeats what it missed. The runner looks
every 0.2 s and a ramp moves every second: finer steps could not be told apart on the traces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slo.units import format_duration, parse_duration_s

STEP_S = 1.0
LEAST_FLAP_S, MOST_S = 0.5, 600.0

Number = float | int


@dataclass(frozen=True, slots=True)
class Ramp:
    """One parameter on its way; both ends are values of that parameter, durations in seconds."""

    parameter: str
    begin: Number
    end: Number
    over_s: float

    def step_at(self, elapsed_s: float) -> int:
        """Which step is in force: 0 is where it begins."""
        return min(int(max(0.0, elapsed_s) / STEP_S + 1e-9), self.last_step)

    @property
    def last_step(self) -> int:
        """The step that reaches the end."""
        return -int(-self.over_s // STEP_S)

    def value(self, step: int) -> Number:
        """The parameter in that step; whole where both ends are."""
        if step >= self.last_step:
            return self.end
        value = self.begin + (self.end - self.begin) * step * STEP_S / self.over_s
        if isinstance(self.begin, int) and isinstance(self.end, int):
            return round(value)
        in_thousandths = all(abs(end * 1e3 - round(end * 1e3)) < 1e-9 for end in (self.begin, self.end))
        return round(value, 3 if in_thousandths else 6)

    @property
    def larger(self) -> Number:
        """The larger end: what the fault comes to at most."""
        return max(self.begin, self.end)

    def sentence(self) -> str:
        """For the journal and the report."""
        return f"{self.parameter} from {self.begin:g} to {self.end:g} over {format_duration(self.over_s)}"


@dataclass(frozen=True, slots=True)
class Flap:
    """In for a while, out for a while, in again."""

    on_s: float
    off_s: float

    def is_in(self, elapsed_s: float) -> bool:
        """Whether it should be in; it begins with being in."""
        return elapsed_s % (self.on_s + self.off_s) < self.on_s

    def sentence(self) -> str:
        """For the journal and the report."""
        return f"{format_duration(self.on_s)} in, {format_duration(self.off_s)} out"


@dataclass(frozen=True, slots=True)
class OverTime:
    """What becomes of a fault while its phases last."""

    ramp: Ramp | None = None
    flap: Flap | None = None

    def is_in(self, elapsed_s: float) -> bool:
        """Whether it should be in."""
        return self.flap is None or self.flap.is_in(elapsed_s)

    def step_at(self, elapsed_s: float) -> int:
        """Which step of its ramp is in force; 0 without one."""
        return self.ramp.step_at(elapsed_s) if self.ramp is not None else 0

    def sentences(self) -> dict[str, str]:
        """Its parts in words, by their names in an experiment."""
        parts = {"ramp": self.ramp, "flap": self.flap}
        return {name: part.sentence() for name, part in parts.items() if part is not None}


def parse_flap(raw: Any) -> Flap:
    """`{on: 2s, off: 3s}`. Raises ValueError with what to write."""
    form = "write {on: 2s, off: 3s}"
    if not isinstance(raw, Mapping) or set(raw) != {"on", "off"}:
        raise ValueError(f"flap is {raw!r}; {form}")
    return Flap(*(_within(f"flap.{name}", raw[name], LEAST_FLAP_S) for name in ("on", "off")))


def parse_ramp(raw: Any) -> tuple[str, Any, Any, float]:
    """Parameter, both ends as they are written, and seconds. Raises ValueError with what to write."""
    form = "write {PARAMETER: [FROM, TO], over: 30s}"
    if not isinstance(raw, Mapping) or "over" not in raw or len(raw) != 2:
        raise ValueError(f"ramp is {raw!r}; {form}, one parameter in each ramp")
    over_s = _within("ramp.over", raw["over"], STEP_S)
    ((parameter, ends),) = ((name, ends) for name, ends in raw.items() if name != "over")
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise ValueError(f"ramp.{parameter} is {ends!r}; {form}")
    if ends[0] == ends[1]:
        raise ValueError(f"ramp.{parameter} goes from {ends[0]!r} to the same; leave the ramp away")
    return str(parameter), ends[0], ends[1], over_s


def _within(name: str, raw: Any, least_s: float) -> float:
    try:
        seconds = parse_duration_s(raw)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not least_s <= seconds <= MOST_S:
        bounds = f"{format_duration(least_s)} to {format_duration(MOST_S)}"
        raise ValueError(f"{name} is {raw!r}, which is out of bounds; allowed is {bounds}")
    return seconds
