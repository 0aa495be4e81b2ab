"""Memory pressure: others hold the memory that a part needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from chaos.faults.process_fault import ProcessFault, records
from chaos.processes import ProcessFaultError
from chaos.processes.hogs import nice_of
from chaos.processes.memory import MIB, available_bytes, reserve_bytes

if TYPE_CHECKING:
    from chaos.control.controls import Controls

FLOOR_RATIO = 0.5
"""Of the reserve: with less than that left the hog lets go by itself, because others have grown."""
HELD_RATIO = 0.9


class MemoryPressure(ProcessFault):
    """A process takes `mib` MiB, touches every page of it and keeps doing so.

    Refused where less than a tenth of the machine (at least 512 MiB) would stay free: a machine that swaps or
    kills processes measures nothing. What is left for files shrinks, so what was read from the page cache
    comes from the disk again. In a container its own limit counts.

        crowded: {on: vector_db, kind: memory_pressure, mib: 2000}

    Looks like: slower reads of files and slower starts; nothing fails by itself.
    Bit when: the kernel shows that nine tenths of `mib` are resident when the fault comes out.
    Undone: the process is ended; it also ends by itself when the run dies, or when memory gets short.
    """

    kind: Literal["memory_pressure"] = "memory_pressure"
    mib: int = Field(ge=1, le=1_048_576, strict=True, description="MiB to hold; 1 to 1048576, if it is free")

    def check(self, at: Controls) -> None:
        at.processes.of(self.on)
        available, reserve = available_bytes(), reserve_bytes()
        if self.mib * MIB > available - reserve:
            most = max(0, (available - reserve) // MIB)
            advice = (
                f"ask for at most {most} MiB" if most else "free some memory first, or leave this fault out"
            )
            raise ProcessFaultError(
                f"{self.mib} MiB cannot be taken: {available // MIB} MiB are available, "
                f"of which {reserve // MIB} MiB must stay free; {advice}"
            )

    def prepare(self, at: Controls, name: str) -> None:
        floor = int(FLOOR_RATIO * reserve_bytes() / MIB)
        nice = nice_of(at.processes.of(self.on))
        at.processes.hogs.hire(name, [("memory", str(self.mib), str(floor))], nice)

    def inject(self, at: Controls, name: str) -> None:
        at.processes.hogs.set_off(name)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any]:
        held = self._held_mib(at, name)
        at.processes.hogs.dismiss(name)
        return {"held_mib": held, "bit": held >= HELD_RATIO * self.mib}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        held = self._held_mib(at, name)
        if held < HELD_RATIO * self.mib:
            raise ProcessFaultError(f"{name}: {held} of {self.mib} MiB are held")
        [state] = at.processes.hogs.states(name)
        return {"pid": state.process.pid, "held_mib": held, "available_mib": available_bytes() // MIB}

    def is_gone(self, at: Controls, name: str) -> bool:
        return not any(state.alive for state in at.processes.hogs.states(name))

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        return {"do": "end", "part": self.on, "processes": records(at.processes.hogs.identities(name))}

    def parameters(self) -> dict[str, float | int | str]:
        return {"mib": self.mib}

    def _held_mib(self, at: Controls, name: str) -> int:
        return sum(state.rss_bytes for state in at.processes.hogs.states(name)) // MIB
