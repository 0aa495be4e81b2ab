"""Slow close: connections linger after the last byte."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from chaos.faults.quantities import PositiveDuration, milliseconds
from chaos.faults.witnessed_toxic import WitnessedToxic


class SlowClose(WitnessedToxic):
    """All data passes, but a close by the dependency is seen only after `delay`.

    Look for answers read until the connection closes, and for sockets that pile up.

        lingering-llm: {on: llm, kind: slow_close, delay: 5s}

    Looks like: whole answers on connections that seem open although the dependency has closed them.
    Bit when: the built-in proxy tells of at least three connections that it kept open; no span must show it,
    and Toxiproxy does not tell.
    Undone: the toxic is removed; connections that linger are closed.
    """

    toxic_type = "slow_close"
    least: ClassVar[int] = 3

    kind: Literal["slow_close"] = "slow_close"
    delay: PositiveDuration = Field(description="how much later the close arrives; 1 ms to 10 min")

    def attributes(self) -> dict[str, int]:
        return {"delay": milliseconds(self.delay)}

    def parameters(self) -> dict[str, float | int | str]:
        return {"delay_s": self.delay, "stream": self.stream}
