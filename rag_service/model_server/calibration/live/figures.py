"""The figures that are compared: median and 95th percentile of the first token and of the time per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

NAMES = ("first token p50", "first token p95", "token time p50", "token time p95")


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: what was asked, and how long it took."""

    prompt_tokens: int
    output_tokens: int
    first_token_s: float
    token_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one level. In the order of `NAMES`."""

    first_token_p50_s: float
    first_token_p95_s: float
    token_p50_s: float
    token_p95_s: float

    def all_s(self) -> tuple[float, ...]:
        return astuple(self)


def figures(samples: Sequence[Sample]) -> Figures:
    """Of the requests that count."""
    first = np.quantile([sample.first_token_s for sample in samples], (0.5, 0.95))
    token = np.quantile([sample.token_s for sample in samples], (0.5, 0.95))
    return Figures(float(first[0]), float(first[1]), float(token[0]), float(token[1]))
