"""Bandwidth: the way to the dependency is narrow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.faults.fault import ToxicFault


class Bandwidth(ToxicFault):
    """Each connection carries at most `rate` KB/s (1 KB = 1000 bytes).

        thin-pipe: {on: vector_db, kind: bandwidth, rate: 20}

    Looks like: small answers hardly notice; large ones (many documents, long prompts upstream) take their
    size divided by `rate`.
    Bit when: the proxy's evidence names the connections that it held up; no span must show it.
    Undone: the toxic is removed, and what waits in the proxy goes out at once.
    """

    toxic_type = "bandwidth"
    ramps = ("rate",)

    kind: Literal["bandwidth"] = "bandwidth"
    rate: int = Field(
        ge=1, le=10_000_000, strict=True, description="KB/s for each connection; 1 to 10,000,000"
    )

    def attributes(self) -> dict[str, int]:
        return {"rate": self.rate}

    def parameters(self) -> dict[str, float | int | str]:
        return {"rate_kb_per_s": self.rate, "stream": self.stream}
