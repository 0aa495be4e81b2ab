"""Latency: the dependency answers, later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from chaos.faults.fault import ToxicFault
from chaos.faults.quantities import DurationOrNone, PositiveDuration, milliseconds

_SHIFT_THAT_MUST_SHOW = 0.8  # the evaluator asks each span for 80 % of `shift_s`


class Latency(ToxicFault):
    """Every answer of the dependency arrives `latency` later, give or take `jitter`.

    The order of bytes is kept, and a long answer pays once, not per chunk: a stream of tokens starts
    later and then flows as before. Opening a connection is not delayed. Look for callers whose timeout
    is longer than their own caller's patience, and for retries that multiply the load.

        slow-vector-db: {on: vector_db, kind: latency, latency: 2s, jitter: 200ms}

    Looks like: a slow dependency; calls with a shorter timeout than `latency` end in it.
    Bit when: four in five calls last 80 % of `latency` longer than the baseline's median, or were cut off.
    Undone: the toxic is removed; what it still holds back goes out at once.
    """

    toxic_type = "latency"

    kind: Literal["latency"] = "latency"
    latency: PositiveDuration = Field(description="added to every answer; 1 ms to 10 min")
    jitter: DurationOrNone = Field(0.0, description="uniform, both ways; at most `latency`")

    @model_validator(mode="after")
    def _jitter_within_latency(self) -> Self:
        if self.jitter > self.latency:
            raise ValueError(f"jitter ({self.jitter} s) is above latency ({self.latency} s); lower it")
        return self

    def attributes(self) -> dict[str, int]:
        return {"latency": milliseconds(self.latency), "jitter": milliseconds(self.jitter)}

    def expects(self) -> Mapping[str, Any] | None:
        """The shift of each span; smaller than `latency` where jitter may take more than a fifth of it."""
        surely_s = (self.latency - self.jitter) / _SHIFT_THAT_MUST_SHOW
        shift_s = round(min(self.latency, surely_s), 6)
        return {"segment": self.segment, "shift_s": shift_s} if shift_s > 0 else None

    def parameters(self) -> dict[str, float | int | str]:
        return {"latency_s": self.latency, "jitter_s": self.jitter, "stream": self.stream}
