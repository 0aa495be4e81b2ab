"""CPU hog: others use the cores that a part needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from chaos.faults.process_fault import ProcessFault, records
from chaos.processes import ProcessFaultError
from chaos.processes.hogs import nice_of
from slo.units import RATIO_SCHEMA, parse_ratio

if TYPE_CHECKING:
    from chaos.control.controls import Controls

BIT_RATIO = 0.2
"""Of the CPU time it asked for: at a priority like the part's it gets a fair share, which may be no more."""


class CpuHog(ProcessFault):
    """`workers` processes use `share` of a core each, at the part's own priority.

    A noisy neighbour: what the machine gives to the part becomes less, for every part of the same priority.
    `above` makes them more urgent by so many steps of nice (parts run at 10, the proxy and the journeys at 0,
    and the hogs never come before those, so that the measurement itself keeps its cores). Where the kernel
    groups processes by session (`/proc/sys/kernel/sched_autogroup_enabled` is 1), each group gets the same
    share whatever its nice, and more workers are what makes a difference.

        noisy-neighbour: {on: service, kind: cpu_hog, workers: 2, share: 100%}

    Looks like: everything that computes takes longer, the tail first; nothing fails by itself.
    Bit when: the kernel's clocks show that the hogs had at least a fifth of the CPU time that they asked for.
    Undone: the hogs are ended; they also end by themselves when the run dies.
    """

    kind: Literal["cpu_hog"] = "cpu_hog"
    workers: int = Field(1, ge=1, le=64, strict=True, description="processes; 1 to 64")
    share: Annotated[
        float, BeforeValidator(parse_ratio), Field(ge=0.01, le=1.0), WithJsonSchema(RATIO_SCHEMA)
    ] = Field(
        "100%",  # type: ignore[assignment]  # the default is parsed, too
        description="of one core, each; 1% to 100%",
    )
    above: int = Field(0, ge=0, le=19, strict=True, description="steps of nice above the part; 0 to 19")

    def prepare(self, at: Controls, name: str) -> None:
        nice = max(0, nice_of(at.processes.of(self.on)) - self.above)
        at.processes.hogs.hire(name, [("cpu", str(self.share))] * self.workers, nice)

    def inject(self, at: Controls, name: str) -> None:
        at.processes.hogs.set_off(name)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any]:
        used_s = sum(state.cpu_s for state in at.processes.hogs.states(name))
        at_work_s = at.processes.hogs.at_work_s(name)
        at.processes.hogs.dismiss(name)
        cores = used_s / at_work_s if at_work_s > 0 else 0.0
        asked = min(self.workers * self.share, float(os.cpu_count() or 1))
        return {"cpu_s": round(used_s, 3), "cores": round(cores, 3), "bit": cores >= BIT_RATIO * asked}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        states = at.processes.hogs.states(name)
        working = [state.process for state in states if state.alive]
        if len(working) < self.workers:
            raise ProcessFaultError(f"{name}: {len(working)} of {self.workers} hogs are at work")
        return {"pids": [one.pid for one in working], "nice": nice_of(working[0])}

    def is_gone(self, at: Controls, name: str) -> bool:
        return not any(state.alive for state in at.processes.hogs.states(name))

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        return {"do": "end", "part": self.on, "processes": records(at.processes.hogs.identities(name))}

    def parameters(self) -> dict[str, float | int | str]:
        return {"workers": self.workers, "share_ratio": self.share, "above_nice": self.above}
