"""What faults on processes share: the parts that they act on, and how it shows when one of those fails.

They act on the process itself, beside every proxy, and therefore only on parts that ragquake started.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from chaos.faults.fault import SEGMENT_BEHIND, Fault, Need
from chaos.processes.processes import PARTS
from chaos.stack.process import ProcessIdentity

if TYPE_CHECKING:
    from chaos.control.controls import Controls


def _known_part(name: str) -> str:
    if name not in PARTS:
        raise ValueError(
            f"{name!r} is not a part that faults on processes act on; allowed: {', '.join(PARTS)}"
        )
    return name


PartName = Annotated[str, AfterValidator(_known_part)]


class ProcessFault(Fault, ABC):
    """A fault on the process of a part."""

    needs: ClassVar[Need] = "processes"

    on: PartName = Field(description=f"the part it is done to: {', '.join(PARTS)}")

    @property
    def segment(self) -> str:
        """The segment that shows it: of the service nothing but its callers can tell."""
        return SEGMENT_BEHIND.get(self.on, "journey")

    def expects(self) -> Mapping[str, Any] | None:
        """No span must show it: what the kernel said is in the journal (`observed` of `fault.removed`)."""
        return {"segment": self.segment, "evidence": True}

    def check(self, at: Controls) -> None:
        """Refuse a part that is not ours or does not run."""
        at.processes.of(self.on)


def records(processes: Iterable[ProcessIdentity]) -> list[dict[str, Any]]:
    """Processes as undo records name them."""
    return [{"pid": one.pid, "created_s": one.created_s} for one in processes]
