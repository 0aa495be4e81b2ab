"""What the run meant to do and when it did it, as its journal tells.

All windows of an evaluation come from here: phases from the plan, on the clock that began at
`load.started.t0_s`; faults from the moment when they were read back until they were taken out. A fault that
flaps is in several times, and one on a ramp expects something else in each of its steps, so what a fault did
is told in stretches. Offsets count from t0 in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slo.bundle import JsonLines


@dataclass(frozen=True, slots=True)
class PlannedPhase:
    """A phase as it was planned; `arrivals` is the exact size of its schedule."""

    name: str
    start_s: float
    end_s: float
    rate_per_s: float
    faults: tuple[str, ...]
    judged: bool
    arrivals: int | None
    complete: bool
    """The load went on until the phase's end."""
    rate_told: str = ""
    """How the rate changed, in arrivals per second (`2 to 20`); then `rate_per_s` is its mean."""

    @property
    def span_s(self) -> float:
        """How long it lasted by plan."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a fault was in and stayed what it was."""

    start_s: float
    """When it was read back; when it was put in, where nobody read it back."""
    end_s: float
    """Infinite where nothing says that it ended."""
    expects: Mapping[str, Any] | None
    removed: bool
    """It ended with the fault, which let go what it held; not with the next step of its ramp."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault as it was planned, from the first time it was put in to the last time it was taken out."""

    name: str
    on: str
    kind: str
    parameters: dict[str, Any]
    expects: dict[str, Any] | None
    declared_s: float | None
    """When its undo was written down, right before it was put in for the first time."""
    injected_s: float | None
    verified_s: float | None
    removed_s: float | None
    observed: tuple[Mapping[str, Any], ...] = ()
    """What whoever took it out saw it to have done, each time; `bit` says whether that was enough."""
    stretches: tuple[Stretch, ...] = ()
    """When it was in, in order."""

    @property
    def turns(self) -> tuple[tuple[float, float], ...]:
        """From putting in to taking out, each time; an end that nothing tells is infinite."""
        starts = [
            stretch.start_s
            for before, stretch in zip((None, *self.stretches), self.stretches, strict=False)
            if before is None or before.removed
        ]
        ends = [stretch.end_s for stretch in self.stretches if stretch.removed]
        return tuple(zip(starts, [*ends, math.inf], strict=False))


@dataclass(frozen=True, slots=True)
class Plan:
    """The journal, understood."""

    run: dict[str, Any]
    started_at_s: float | None
    t0_s: float | None
    phases: tuple[PlannedPhase, ...]
    faults: tuple[PlannedFault, ...]
    assertions: tuple[str, ...]
    """The names of all that was claimed, and so must be judged; empty where the journal does not say."""
    objectives: tuple[str, ...]
    status: str | None
    message: str | None
    stops: tuple[dict[str, Any], ...]
    load_exit_code: int | None
    load_ended_s: float | None
    """When the last attempt was over; whatever the service did later, no user had part in it."""
    last_seq: int | None
    unhanded: str
    """Why the service did not hand over its last spans; empty where it did."""
    lost: int | None
    """Spans that the service says it lost; nothing where it does not count them."""
    torn: int

    @property
    def baseline(self) -> PlannedPhase | None:
        """What others are compared with: the phase so named, else the first judged; without faults."""
        healthy = [phase for phase in self.phases if not phase.faults]
        named = [phase for phase in healthy if phase.name == "baseline"]
        return next(iter(named + [phase for phase in healthy if phase.judged]), None)

    @property
    def last_removed_s(self) -> float | None:
        """When the last fault was out; None when one never was, or there was none."""
        ends = [fault.removed_s for fault in self.faults if fault.injected_s is not None]
        return max((end for end in ends if end is not None), default=None) if None not in ends else None

    def phase(self, name: str) -> PlannedPhase | None:
        """The phase of that name."""
        return next((phase for phase in self.phases if phase.name == name), None)


def read_plan(journal: JsonLines) -> Plan:
    """The plan in a journal, however early the journal ends."""
    events = journal.records
    started, planned = _first(events, "run.started"), _first(events, "run.planned")
    finished, ended = _last(events, "run.finished"), _last(events, "load.ended")
    t0_s = _number(_first(events, "load.started").get("t0_s"))
    stops = tuple(event for event in events if event.get("event") == "stop.triggered")
    until_s = _load_until(t0_s, stops, ended, finished)
    barrier = _last(events, "barrier.passed")
    return Plan(
        run=started,
        started_at_s=_number(started.get("at_s")),
        t0_s=t0_s,
        phases=tuple(_phases(planned, until_s)),
        faults=tuple(_fault(name, facts, events, t0_s) for name, facts in _faults(planned)),
        assertions=tuple(map(str, planned.get("assertions") or ())),
        objectives=tuple(map(str, planned.get("objectives") or ())),
        status=finished.get("status"),
        message=finished.get("message"),
        stops=stops,
        load_exit_code=ended.get("exit_code"),
        load_ended_s=None if t0_s is None or (at_s := _number(ended.get("at_s"))) is None else at_s - t0_s,
        unhanded=_unhanded(events, finished),
        last_seq=barrier.get("last_seq"),
        lost=barrier.get("lost"),
        torn=journal.torn,
    )


def _unhanded(events: Sequence[Mapping[str, Any]], finished: Mapping[str, Any]) -> str:
    """The last barrier is the one without a phase; a run that went to its end had one."""
    asked = [one for one in events if str(one.get("event")).startswith("barrier.") and not one.get("phase")]
    if not asked:
        return "nobody asked it to" if finished.get("status") == "completed" else ""
    last = asked[-1]
    return "" if last["event"] == "barrier.passed" else str(last.get("reason") or "nobody knows why")


def _load_until(
    t0_s: float | None,
    stops: Sequence[Mapping[str, Any]],
    ended: Mapping[str, Any],
    finished: Mapping[str, Any],
) -> float:
    """The offset until which arrivals were made, as far as the journal knows."""
    if t0_s is None:
        return -math.inf
    early = finished.get("status") in ("stopped", "interrupted", "error")
    ends = [event.get("at_s") for event in (*stops, *([ended] if early or not finished else []))]
    known = [end for end in map(_number, ends) if end is not None]
    if known:
        return min(known) - t0_s
    return -math.inf if not finished or early else math.inf


def _phases(planned: Mapping[str, Any], until_s: float) -> list[PlannedPhase]:
    arrivals = planned.get("arrivals") or {}
    return [
        PlannedPhase(
            name=str(phase["name"]),
            start_s=float(phase["start_s"]),
            end_s=float(phase["end_s"]),
            rate_per_s=float(phase.get("rate_per_s") or 0.0),
            faults=tuple(phase.get("faults") or ()),
            judged=bool(phase.get("judged", True)),
            arrivals=arrivals.get(phase["name"]),
            complete=float(phase["end_s"]) <= until_s,
            rate_told=str(phase.get("rate_told") or ""),
        )
        for phase in planned.get("phases") or ()
    ]


def _faults(planned: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    used = {name for phase in planned.get("phases") or () for name in phase.get("faults") or ()}
    return [(name, facts) for name, facts in (planned.get("faults") or {}).items() if name in used]


def _fault(
    name: str, facts: Mapping[str, Any], events: Sequence[Mapping[str, Any]], t0_s: float | None
) -> PlannedFault:
    own = [event for event in events if event.get("fault") == name]

    def offset(event: Mapping[str, Any]) -> float | None:
        at_s = _number(event.get("at_s"))
        return None if at_s is None or t0_s is None else at_s - t0_s

    expects = dict(facts["expects"]) if facts.get("expects") else None
    stretches = _stretches([(event, at_s) for event in own if (at_s := offset(event)) is not None], expects)
    is_out = not stretches or stretches[-1].removed
    observed = tuple(
        event["observed"] for event in own if event.get("event") == "fault.removed" and event.get("observed")
    )
    injected_s = offset(_first(own, "fault.injected"))
    ended_s = offset({"at_s": observed[0].get("ended_at_s")}) if observed else None
    if injected_s is not None and ended_s is not None:
        injected_s = min(injected_s, ended_s)  # a restart is told of when the part is back
    return PlannedFault(
        name=name,
        on=str(facts.get("on")),
        kind=str(facts.get("kind")),
        parameters=dict(facts.get("parameters") or {}),
        expects=expects,
        declared_s=offset(_first(own, "undo.declared")),
        injected_s=injected_s,
        verified_s=offset(_first(own, "fault.verified")),
        removed_s=offset(_last(own, "fault.removed")) if is_out else None,
        observed=observed,
        stretches=stretches,
    )


def _stretches(
    events: Sequence[tuple[Mapping[str, Any], float]], planned: Mapping[str, Any] | None
) -> tuple[Stretch, ...]:
    """Each time and each step of one fault; what its events do not say, the plan says."""
    found: list[Stretch] = []
    for event, at_s in events:
        last = found[-1] if found else None
        open_now = last is not None and not last.removed
        match event.get("event"):
            case "fault.injected":
                found.append(Stretch(at_s, math.inf, event.get("expects", planned), removed=False))
            case "fault.verified" if last is not None and open_now:
                found[-1] = replace(last, start_s=at_s)
            case "fault.changed" if last is not None and open_now:
                found[-1] = replace(last, end_s=at_s)
                found.append(Stretch(at_s, math.inf, event.get("expects", planned), removed=False))
            case "fault.removed" if last is not None:
                found[-1] = replace(last, end_s=at_s, removed=True)
    return tuple(found)


def _first(events: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    return next((dict(event) for event in events if event.get("event") == name), {})


def _last(events: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    return _first(tuple(reversed(events)), name)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
