"""latency_distribution: as `latency`, with delays drawn from a distribution; Toxiproxy has no such toxic.

Real delays are skewed: a few are many times the median, and timeouts and hedges live off just those. With Z
standard normal and U uniform in (0, 1], a chunk waits, in ms:

constant    latency
uniform     between latency - spread and latency + spread
normal      latency + spread * Z, and never less than 0
lognormal   latency * exp(s * Z) with s = spread / 1000: the median is `latency`
pareto      latency / U ** (1 / a) with a = spread / 1000: the least is `latency`, and a <= 1 has no mean

Lognormal by its median and shape: NIST/SEMATECH, e-Handbook of Statistical Methods, 8.1.6.4. Pareto by
inversion: L. Devroye, Non-Uniform Random Variate Generation, 1986, II.2. Numbers are whole, as all of
Toxiproxy's, so shapes are in thousandths. A drawn delay above ten minutes is ten minutes: an outage, by any
client's clock.
"""

from __future__ import annotations

import math
from typing import ClassVar

from chaos.proxy.toxics.latency import Latency
from chaos.proxy.toxics.stage import Attributes

MOST_MS = 600_000
_SPREADS = {
    "constant": (0, 0),
    "uniform": (0, MOST_MS),
    "normal": (0, MOST_MS),
    "lognormal": (0, 5_000),
    "pareto": (100, 100_000),
}


class LatencyDistribution(Latency):
    type = "latency_distribution"
    defaults: ClassVar[Attributes] = {"latency": 0, "spread": 0, "distribution": "constant"}
    __slots__ = ()

    @classmethod
    def refuse(cls, attributes: Attributes) -> str | None:
        latency, spread, distribution = (attributes[name] for name in cls.defaults)
        if distribution not in _SPREADS:
            return f"distribution must be one of {', '.join(_SPREADS)}, not {distribution!r}"
        if not 0 <= latency <= MOST_MS:
            return f"latency must be within 0..{MOST_MS} ms, not {latency}"
        least, most = _SPREADS[distribution]
        if distribution == "uniform":
            most = latency
        if not least <= spread <= most:
            unit = "thousandths" if distribution in ("lognormal", "pareto") else "ms"
            return f"spread of {distribution} must be within {least}..{most} {unit}, not {spread}"
        return None

    def configure(self, attributes: Attributes) -> None:
        """From now on: what is held keeps its time, so that a ramp does not shorten what it made long."""
        self.attributes = attributes

    def _delay_s(self) -> float:
        return min(max(0.0, self._drawn_ms()), MOST_MS) / 1000.0

    def _drawn_ms(self) -> float:
        latency, spread = self.attributes["latency"], self.attributes["spread"]
        rng = self.line.rng
        match self.attributes["distribution"]:
            case "uniform":
                return rng.uniform(latency - spread, latency + spread)
            case "normal":
                return rng.gauss(latency, spread)
            case "lognormal":
                return float(latency * math.exp(rng.gauss(0.0, spread / 1000.0)))
            case "pareto":
                return float(latency * (1.0 - rng.random()) ** (-1000.0 / spread))
            case _:
                return float(latency)
