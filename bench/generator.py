"""Runs `bench.load` as a process and reads its report back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load import Exchange
from bench.processes import ROOT

#: Above these the generator was part of what it measured.
MOST_CPU_RATIO = 0.7
MOST_LAG_S = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked, what came back, and how the generator itself did."""

    exchanges: tuple[Exchange, ...]
    wall_s: float
    cpu_s: float

    @property
    def cpu_ratio(self) -> float:
        return self.cpu_s / self.wall_s

    @property
    def lag_p99_s(self) -> float:
        """How late questions were sent, at the 99th percentile."""
        lags = sorted(exchange.lag_s for exchange in self.exchanges)
        return lags[int(len(lags) * 0.99)] if lags else 0.0

    @property
    def trustworthy(self) -> bool:
        return self.cpu_ratio <= MOST_CPU_RATIO and self.lag_p99_s <= MOST_LAG_S


def load(url: str, questions: Sequence[str], **options: object) -> Load:
    """One run; options are the flags of `bench.load`: `rate=20.0, seconds=5.0, stream=True`."""
    flags: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            flags.append(flag)
        elif value is not None and value is not False:
            flags += [flag, str(value)]
    finished = subprocess.run(
        [sys.executable, "-m", "bench.load", url, *flags],
        input=json.dumps(list(questions)).encode(),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
    )
    report = json.loads(finished.stdout)
    exchanges = tuple(Exchange(**exchange) for exchange in report["exchanges"])
    return Load(exchanges, report["wall_s"], report["cpu_s"])
