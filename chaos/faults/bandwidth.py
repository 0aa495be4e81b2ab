"""Bandwidth: the way to the dependency is narrow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.control.builtin_proxy import Strike
from chaos.faults.witnessed_toxic import WitnessedToxic

HELD_UP_S = 0.01
"""Held up longer, and by its size as well: a busy machine alone holds bytes up for some milliseconds."""


class Bandwidth(WitnessedToxic):
    """Each connection carries at most `rate` KB/s (1 KB = 1000 bytes).

        thin-pipe: {on: vector_db, kind: bandwidth, rate: 20}

    Looks like: small answers hardly notice; large ones (many documents, long prompts upstream) take their
    size divided by `rate`.
    Bit when: the built-in proxy tells of a connection that it held up for 10 ms; no span must show it, and
    Toxiproxy does not tell.
    Undone: the toxic is removed, and what waits in the proxy goes out at once.
    """

    toxic_type = "bandwidth"
    ramps = ("rate",)

    kind: Literal["bandwidth"] = "bandwidth"
    rate: int = Field(
        ge=1, le=10_000_000, strict=True, description="KB/s for each connection; 1 to 10,000,000"
    )

    def felt(self, strike: Strike) -> bool:
        return min(strike.delay_s, strike.bytes / (1000 * self.rate)) >= HELD_UP_S

    def attributes(self) -> dict[str, int]:
        return {"rate": self.rate}

    def parameters(self) -> dict[str, float | int | str]:
        return {"rate_kb_per_s": self.rate, "stream": self.stream}
