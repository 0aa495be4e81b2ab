"""What a toxic is that no span need show: the built-in proxy's evidence says where it was felt.

A small answer passes a narrow pipe unharmed, and a reader that is written well notices no pieces, so
the spans cannot tell whether such a fault was in the way at all. Toxiproxy keeps no account of its toxics.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from chaos.control.builtin_proxy import BuiltinProxy, Strike
from chaos.control.fault_proxy import FaultProxyError
from chaos.faults.fault import ToxicFault

if TYPE_CHECKING:
    from chaos.control.controls import Controls

_NOBODY_TELLS = "Toxiproxy keeps no account of what its toxics do; run it with RAGQUAKE_PROXY=builtin"


class WitnessedToxic(ToxicFault, ABC):
    """A toxic whose bite the proxy tells."""

    least: ClassVar[int] = 1
    """On so many connections it must be felt; callers keep theirs open, so one may carry every call."""

    def felt(self, strike: Strike) -> bool:  # noqa: ARG002 - most do nothing that is not felt
        """Whether what it did to one connection was more than any proxy does."""
        return True

    def inject(self, at: Controls, name: str) -> None:
        door = at.door(self.on)
        if isinstance(door.proxy, BuiltinProxy):
            door.proxy.watch(door.name, name)
        super().inject(at, name)

    def remove(self, at: Controls, name: str) -> Mapping[str, Any]:
        """On how many connections it was felt since it was put in; `unknown` says why nobody can tell."""
        super().remove(at, name)
        door = at.door(self.on)
        if not isinstance(door.proxy, BuiltinProxy):
            return {"unknown": _NOBODY_TELLS}
        try:
            strikes = door.proxy.strikes(door.name, name)
        except FaultProxyError as error:  # it is out, whatever becomes of its account
            return {"unknown": str(error)}
        if strikes is None:
            return {"unknown": "the proxy's evidence does not reach back to when it was put in"}
        felt = [strike for strike in strikes if self.felt(strike)]
        longest_s = max((strike.delay_s for strike in felt), default=0.0)
        return {
            "connections": len(felt),
            "bytes": sum(strike.bytes for strike in felt),
            "longest_s": round(longest_s, 3),
            "bit": len(felt) >= self.least,
        }

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "evidence": True}
