"""Least squares over the simulator: which cost makes it behave as was measured.

Every trial runs the simulator on the measured load with the same seeds, so that trials differ by their cost
alone. What is fitted are logarithms of the figures (an error of 10 % weighs the same at 7 ms and at 3 s)
over logarithms of the parameters (which keeps them positive).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from rag_service.model_server.calibration import curve
from rag_service.model_server.calibration.published import Curve
from rag_service.model_server.cost import Cost
from rag_service.model_server.presets import Preset

# The smallest change of a parameter that a simulation of steps can be expected to show.
_TRIAL_CHANGE = 0.02
_MOST_TRIALS = 30
# A median of one token a request moves by half a step with the moment of arrival: it weighs less.
_FIRST_TOKEN_WEIGHT = 0.3
_PUBLISHED_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Fit:
    """The best cost, and the root mean square of what it misses."""

    cost: Cost
    error_ratio: float


def fit(start: Cost, names: Sequence[str], missed: Callable[[Cost], Sequence[float]]) -> Fit:
    """Change the named parameters of a cost until the squares of what is `missed` add up to least."""

    def trial(logarithms: Sequence[float]) -> Cost:
        return replace(start, **{name: math.exp(x) for name, x in zip(names, logarithms, strict=True)})

    def residuals(logarithms: Sequence[float]) -> np.ndarray:
        return np.asarray(missed(trial(logarithms)), dtype=float)

    begin = [math.log(getattr(start, name)) for name in names]
    found = least_squares(
        residuals, begin, diff_step=_TRIAL_CHANGE, x_scale=1.0, max_nfev=_MOST_TRIALS, xtol=1e-4, ftol=1e-4
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
