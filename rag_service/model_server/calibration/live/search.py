"""A search for the cost behind a measurement, for figures that do not move smoothly.

Percentiles of some hundred requests jump when a request joins one step instead of the next, so derivatives
between two neighbouring costs are noise. Here each round tries many costs around the best one so far, lays a
plane through what they miss, and goes to that plane's best place; then the neighbourhood shrinks. Parameters
are changed by factors: 10 % more weighs the same for 4 ms and for 20 µs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from rag_service.model_server.calibration.fit import Fit
from rag_service.model_server.cost import MAX_JITTER_RATIO, Cost

#: How far a round looks around, as a factor's logarithm, and how many costs it tries.
_ROUNDS = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
_TRIALS = 24
#: What is missed by more counts less than its square: a second in which the machine did something else ends
#: up in one 95th percentile, and should stay there.
_OUTLIER = 0.1

Vector = NDArray[np.float64]


def search(
    start: Cost, names: Sequence[str], missed: Callable[[Cost], Sequence[float]], random: Random
) -> Fit:
    """Change the named parameters until what is `missed` (relative errors) is least. None may start at 0."""
    begin = {name: float(getattr(start, name)) for name in names}
    for name, value in begin.items():
        if value == 0.0:
            raise ValueError(f"{name} starts at 0; a search needs a first guess above 0")

    def cost(at: Vector) -> Cost:
        values = {name: value * math.exp(move) for (name, value), move in zip(begin.items(), at, strict=True)}
        if "jitter_ratio" in values:
            values["jitter_ratio"] = min(values["jitter_ratio"], MAX_JITTER_RATIO)
        return replace(start, **values)

    def misses(at: Vector) -> Vector:
        return np.asarray(missed(cost(at)), dtype=float)

    best = np.zeros(len(names))
    best_misses = misses(best)
    for reach in _ROUNDS:
        moves = np.array([[random.uniform(-reach, reach) for _ in names] for _ in range(_TRIALS)])
        found = np.array([misses(best + move) for move in moves])
        goal = best + _best_of_plane(moves, found, best_misses, reach)
        tried = [(best, best_misses), *zip(best + moves, found, strict=True), (goal, misses(goal))]
        best, best_misses = min(tried, key=lambda one: _loss(one[1]))
    return Fit(cost(best), float(np.sqrt(np.mean(best_misses**2))))


def _best_of_plane(moves: Vector, found: Vector, here: Vector, reach: float) -> Vector:
    """Where the plane through the trials misses least, within reach."""
    known = np.vstack([np.zeros(moves.shape[1]), moves])
    columns = np.hstack([np.ones((len(known), 1)), known])
    plane, *_ = np.linalg.lstsq(columns, np.vstack([here, found]), rcond=None)
    level, slopes = plane[0], plane[1:]
    solved = least_squares(
        lambda move: level + move @ slopes,
        np.zeros(moves.shape[1]),
        bounds=(-reach, reach),
        loss="soft_l1",
        f_scale=_OUTLIER,
    )
    return np.asarray(solved.x, dtype=float)


def _loss(misses: Vector) -> float:
    """Squares, and further out distances."""
    return float(np.sum(np.sqrt(1.0 + (misses / _OUTLIER) ** 2) - 1.0))
