"""How long the first token and each further token take, with a little seeded jitter.

Real step times vary by a few per cent; a jitter of ±10 %, uniform, keeps streams from marching in step
while their mean stays what was asked for.
"""

from __future__ import annotations

from random import Random

JITTER_RATIO = 0.1


class Pace:
    """Delays drawn from one random source: the same seed and order of requests give the same delays."""

    def __init__(self, first_token_s: float, token_s: float, random: Random) -> None:
        self._first_token_s = first_token_s
        self._token_s = token_s
        self._random = random

    def first_token_s(self) -> float:
        """The delay from admission to the first token."""
        return self._first_token_s * self._jitter()

    def token_s(self) -> float:
        """The delay from one token to the next."""
        return self._token_s * self._jitter()

    def _jitter(self) -> float:
        return 1.0 + JITTER_RATIO * (2.0 * self._random.random() - 1.0)
