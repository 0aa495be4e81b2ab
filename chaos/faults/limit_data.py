"""Limit data: connections end after so many bytes."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from chaos.faults.witnessed_toxic import WitnessedToxic


class LimitData(WitnessedToxic):
    """Each connection is closed, cleanly, once `bytes` bytes have passed: answers arrive cut short.

    Look for a truncated answer that is taken as a whole one. A limit below the size of an answer's
    headers makes every call fail; one above it cuts streams in the middle.

        cut-stream: {on: llm, kind: limit_data, bytes: 2000}

    Looks like: connections that the other side closed, some of them in the middle of an answer.
    Bit when: the built-in proxy tells of at least three connections that it cut; answers shorter than
    `bytes` are whole, and Toxiproxy does not tell.
    Undone: the toxic is removed; connections that are cut stay cut.
    """

    toxic_type = "limit_data"
    ramps = ("bytes",)
    least: ClassVar[int] = 3

    kind: Literal["limit_data"] = "limit_data"
    bytes: int = Field(ge=0, le=1_000_000_000, strict=True, description="for each connection; 0 to 1e9")

    def attributes(self) -> dict[str, int]:
        return {"bytes": self.bytes}

    def parameters(self) -> dict[str, float | int | str]:
        return {"bytes": self.bytes, "stream": self.stream}
