"""Least squares over the simulator: which cost makes it behave as was measured.

Every trial runs the simulator on the measured load with the same seeds, so that trials differ by their cost
alone. What is fitted are logarithms of the figures: an error of 10 % weighs the same at 7 ms and at 3 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from rag_service.model_server.calibration import curve
from rag_service.model_server.calibration.published import Curve
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset

#: What the published curves can tell; jitter and the overhead per prompt token are not in them.
PUBLISHED_NAMES = ("base_s", "prefill_token_s", "decode_sequence_s", "request_s")

# How far a parameter is moved to see what follows; less would show the noise of who met whom in a step.
_TRIAL_CHANGE = 0.06
_MOST_TRIALS = 30
_CLOSE = 1e-4
_FACTORS = (0.01, 100.0)
# A median of one token a request moves by half a step with the moment of arrival: it weighs less.
_FIRST_TOKEN_WEIGHT = 0.3
_PUBLISHED_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Fit:
    """The best cost, and the root mean square of what it misses."""

    cost: Cost
    error_ratio: float


def fit(start: Cost, names: Sequence[str], missed: Callable[[Cost], Sequence[float]]) -> Fit:
    """Change the named parameters of a cost until the squares of what is `missed` add up to least.

    They are changed by factors, so none may start at 0.
    """
    begin = [float(getattr(start, name)) for name in names]
    if 0.0 in begin:
        raise ValueError(f"{names[begin.index(0.0)]} starts at 0; a fit needs a first guess above 0")

    def trial(factors: Sequence[float]) -> Cost:
        values = {
            name: value * float(factor) for name, value, factor in zip(names, begin, factors, strict=True)
        }
        return replace(start, **values)

    def residuals(factors: Sequence[float]) -> NDArray[np.float64]:
        return np.asarray(missed(trial(factors)), dtype=float)

    found = least_squares(
        residuals,
        np.ones(len(names)),
        bounds=_FACTORS,
        diff_step=_TRIAL_CHANGE,
        max_nfev=_MOST_TRIALS,
        xtol=_CLOSE,
        ftol=_CLOSE,
    )
    return Fit(trial(found.x), float(np.sqrt(np.mean(found.fun**2))))


def missed_by(curves: Sequence[tuple[Curve, Preset]], cost: Cost) -> list[float]:
    """How far a cost is from published curves: their times per token, and first tokens before the queue."""
    errors: list[float] = []
    for published, preset in curves:
        compared = curve.compare(published, replace(preset, cost=cost), seconds=_PUBLISHED_SECONDS)
        for point in compared.points:
            was, now = point.published, point.simulated
            errors.append(math.log(now.token_s / was.token_s))
            if was.first_token_p50_s < curve.QUEUED_S:
                errors.append(_FIRST_TOKEN_WEIGHT * math.log(now.first_token_p50_s / was.first_token_p50_s))
    return errors
