"""Slicer: answers arrive in small pieces."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from chaos.faults.quantities import FineDuration, microseconds
from chaos.faults.witnessed_toxic import WitnessedToxic

_LARGEST = 32 * 1024  # Toxiproxy reads chunks of 32 KiB; a larger piece never occurs


class Slicer(WitnessedToxic):
    """Data is cut into pieces of about `average_size` bytes, with `delay` after each.

    Look for readers that take one read for one message: SSE events and UTF-8 cut in the middle.

        crumbs: {on: llm, kind: slicer, average_size: 16, size_variation: 8, delay: 1ms}

    Looks like: the same bytes in many small reads; with `delay`, also later.
    Bit when: the built-in proxy tells of a connection whose bytes it cut up or held; no span must show it,
    and Toxiproxy does not tell.
    Undone: the toxic is removed; what it still holds goes out whole.
    """

    toxic_type = "slicer"
    ramps = ("average_size", "size_variation", "delay")

    kind: Literal["slicer"] = "slicer"
    average_size: int = Field(ge=1, le=_LARGEST, strict=True, description="bytes; 1 to 32768")
    size_variation: int = Field(0, ge=0, strict=True, description="bytes either way; below average_size")
    delay: FineDuration = Field(0.0, description="after each piece; counted in microseconds")

    @model_validator(mode="after")
    def _variation_below_average(self) -> Self:
        if self.size_variation >= self.average_size:  # equal or above kills Toxiproxy 2.12
            raise ValueError(
                f"size_variation ({self.size_variation}) must be below average_size ({self.average_size})"
            )
        return self

    def attributes(self) -> dict[str, int]:
        return {
            "average_size": self.average_size,
            "size_variation": self.size_variation,
            "delay": microseconds(self.delay),
        }

    def parameters(self) -> dict[str, float | int | str]:
        return {
            "average_size_bytes": self.average_size,
            "size_variation_bytes": self.size_variation,
            "delay_s": self.delay,
            "stream": self.stream,
        }
