"""What a fault of the simulated model server is: one named entry on its own control surface.

Each kind is a file beside this one: a subclass of `SimulatorFault` with the simulator's own name for it as
`kind`, its parameters, and `body()` where they are called otherwise there.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from chaos.control.fault_proxy import FaultProxyError
from chaos.control.simulator import SimulatorFaults
from chaos.faults.fault import Fault, Need
from chaos.faults.quantities import Count, Probability

if TYPE_CHECKING:
    from chaos.control.controls import Controls

_COMMON = ("on", "kind", "probability", "count")


class SimulatorFault(Fault, ABC):
    """A fault that the simulated model server commits itself."""

    needs: ClassVar[Need] = "simulator"

    on: Literal["llm"] = Field(description="the model server: llm")
    probability: Probability = Field(1.0, description="for each answer; more than 0 %, at most 100 %")
    count: Count | None = Field(None, description="on so many answers at most; 1 to 1000000")

    def body(self) -> dict[str, Any]:
        """The fault's own parameters as the simulator calls them; those that are not set are left out."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in _COMMON}
        return {name: value for name, value in own.items() if value is not None}

    def inject(self, at: Controls, name: str) -> None:
        _simulator(at, name).put(name, self._wanted())

    def check(self, at: Controls) -> None:
        _simulator(at, self.kind)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any] | None:
        """On how many answers it acted, as the simulator counted."""
        gone = _simulator(at, name).remove(name)
        return None if gone is None else {"hits": int(gone["hits"])}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        found = _simulator(at, name).get(name)
        asked = f"read back fault {name!r} on the simulator"
        if found is None:
            raise FaultProxyError(asked, "no such fault is in")
        wanted = self._wanted()
        if any(found.get(key) != value for key, value in wanted.items()):
            raise FaultProxyError(asked, f"in is {dict(found)}, not {wanted}")
        return {key: value for key, value in found.items() if value is not None}

    def is_gone(self, at: Controls, name: str) -> bool:
        return _simulator(at, name).get(name) is None

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:
        return {
            "do": "remove_simulator_fault",
            "address": _simulator(at, name).address,
            "fault": name,
        }

    def expects(self) -> Mapping[str, Any] | None:
        """What it does to a span depends on the answer; the simulator counts on how many it acted."""
        return {"segment": self.segment, "hits": True}

    def parameters(self) -> dict[str, float | int | str]:
        sizes = {name: value for name, value in self.body().items() if not isinstance(value, str)}
        counted = {} if self.count is None else {"count": self.count}
        return {**sizes, "probability": self.probability, **counted}

    def _wanted(self) -> dict[str, Any]:
        counted = {} if self.count is None else {"count": self.count}
        return {"kind": self.kind, "probability": self.probability, **counted, **self.body()}


def _simulator(at: Controls, name: str) -> SimulatorFaults:
    if at.simulator is None:
        raise FaultProxyError(
            f"fault {name!r}",
            "only the simulated model server can commit it, and this stack has another one",
            advice="run it with --stack local --llm simulator",
        )
    return at.simulator
