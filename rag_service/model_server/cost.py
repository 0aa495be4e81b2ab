"""How long the model's work takes: one step of the whole batch, and what a request costs beside its steps.

A step takes `base + prefill tokens · per token + decoding sequences · per sequence`: the weights are read
once for the batch, each token of a prompt costs arithmetic, each decoding sequence the reading of its keys
and values. This is the form that the BLIS simulator fits to measured vLLM (its
`docs/design/core-engine.md`); the figures come from presets. A request's own overhead (HTTP, tokenizer,
hand-over) comes before its first step. It may grow with the sequences that run: the process that takes
requests in also writes their streams, and on few cores a new one waits for that (seen with vLLM on CPUs).
There is no overhead per token given: whoever measures from outside cannot tell it from the cost per decoding
sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

MAX_JITTER_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds per step, token, sequence and request; `jitter_ratio` 0.1 draws each duration within ±10 %."""

    base_s: float
    prefill_token_s: float = 0.0
    decode_sequence_s: float = 0.0
    request_s: float = 0.0
    prompt_token_s: float = 0.0
    request_sequence_s: float = 0.0
    jitter_ratio: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"{field.name} is {value}; it must be a number of at least 0")
        if self.base_s == 0.0:
            raise ValueError("base_s is 0; a step must take time")
        if self.jitter_ratio > MAX_JITTER_RATIO:
            raise ValueError(f"jitter_ratio is {self.jitter_ratio}; at most {MAX_JITTER_RATIO} is allowed")

    def step_s(self, prefill_tokens: int, decoding: int, random: Random) -> float:
        """A step that computes so many prompt tokens beside so many decoding sequences."""
        expected_s = self.base_s + prefill_tokens * self.prefill_token_s + decoding * self.decode_sequence_s
        return expected_s * self._jitter(random)

    def overhead_s(self, prompt_tokens: int, running: int, random: Random) -> float:
        """From a request's arrival until its prompt may be computed, while so many others run."""
        expected_s = self.request_s + prompt_tokens * self.prompt_token_s + running * self.request_sequence_s
        return expected_s * self._jitter(random)

    def _jitter(self, random: Random) -> float:
        return 1.0 + self.jitter_ratio * (2.0 * random.random() - 1.0)
