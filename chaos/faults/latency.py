"""Latency: the dependency answers, later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.fault_proxy import USE_BUILTIN, FaultProxyError, Toxic
from chaos.faults.delays import Delay, Distribution
from chaos.faults.fault import ToxicFault
from chaos.faults.quantities import DurationOrNone, milliseconds

if TYPE_CHECKING:
    from chaos.control.controls import Controls

_SHIFT_THAT_MUST_SHOW = 0.8  # the evaluator asks each span for 80 % of `shift_s`


class Latency(ToxicFault):
    """Every answer of the dependency arrives `latency` later, give or take `jitter`.

    The order of bytes is kept, and a long answer pays once, not per chunk: a stream of tokens starts
    later and then flows as before. Opening a connection is not delayed. Look for callers whose timeout
    is longer than their own caller's patience, and for retries that multiply the load.

        slow-vector-db: {on: vector_db, kind: latency, latency: 2s, jitter: 200ms}

    Real delays are skewed, and timeouts live off the slow ones. `latency` also takes a distribution:
    {constant: 2s}, {uniform: [1s, 3s]}, {normal: [2s, 300ms]} (mean, deviation), {lognormal: [2s, 0.5]}
    (median, shape) or {pareto: [1s, 1.5]} (least, shape). The last three need the built-in proxy, and so
    does a ramp: Toxiproxy lets go at once what it holds back when a toxic is changed.

    Looks like: a slow dependency; calls with a shorter timeout than `latency` end in it.
    Bit when: four in five calls last 80 % of what surely shows (`latency` itself where it is constant)
    longer than the baseline's median, or were cut off.
    Undone: the toxic is removed; what it still holds back goes out at once.
    """

    toxic_type = "latency"
    ramps = ("latency",)
    ramps_from_zero = ("latency",)

    kind: Literal["latency"] = "latency"
    latency: Delay = Field(description="added to every answer; 1 ms to 10 min, or a distribution")
    jitter: DurationOrNone = Field(0.0, description="uniform, both ways; at most `latency`")

    @model_validator(mode="after")
    def _jitter_within_latency(self) -> Self:
        if isinstance(self.latency, Distribution):
            if self.jitter:
                raise ValueError("jitter stands beside a distribution, which has its own; leave it away")
        elif self.jitter > self.latency:
            raise ValueError(f"jitter ({self.jitter} s) is above latency ({self.latency} s); lower it")
        return self

    @property
    def delays(self) -> Distribution:
        """The delay as a distribution: one that does not vary is uniform with no width."""
        if isinstance(self.latency, Distribution):
            return self.latency
        return Distribution("uniform", self.latency, min(self.jitter, self.latency))

    @property
    def needs_builtin(self) -> bool:
        """Whether Toxiproxy's own toxic cannot be it."""
        ramped = self.over_time is not None and self.over_time.ramp is not None
        return ramped or self.delays.shape != "uniform"

    def check(self, at: Controls) -> None:
        if self.needs_builtin and not isinstance(at.door(self.on).proxy, BuiltinProxy):
            what = "a ramp of latency" if self.delays.shape == "uniform" else f"latency {self.delays.shape}"
            raise FaultProxyError(what, "Toxiproxy has no such toxic", advice=USE_BUILTIN)

    def toxic(self, name: str) -> Toxic:
        kind = "latency_distribution" if self.needs_builtin else self.toxic_type
        return Toxic(name, kind, self.stream, 1.0, self.attributes())

    def attributes(self) -> dict[str, int | str]:
        latency = milliseconds(self.delays.latency_s)
        if not self.needs_builtin:
            return {"latency": latency, "jitter": self.delays.spread_of_toxic}
        return {
            "latency": latency,
            "spread": self.delays.spread_of_toxic,
            "distribution": self.delays.shape,
        }

    def expects(self) -> Mapping[str, Any] | None:
        """The shift of each span; smaller than `latency` where chance may take more than a fifth of it."""
        delays = self.delays
        shift_s = round(min(delays.latency_s, delays.surely_s / _SHIFT_THAT_MUST_SHOW), 6)
        return {"segment": self.segment, "shift_s": shift_s} if shift_s > 0 else None

    def parameters(self) -> dict[str, float | int | str]:
        if isinstance(self.latency, Distribution):
            spread = "shape" if self.latency.shape in ("lognormal", "pareto") else "spread_s"
            own = {"distribution": self.latency.shape, spread: self.latency.spread}
        else:
            own = {"jitter_s": self.jitter}
        return {"latency_s": self.delays.latency_s, **own, "stream": self.stream}
