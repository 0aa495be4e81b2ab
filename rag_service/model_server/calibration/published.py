"""What was published about vLLM on an H100: three ways of starting it, seven rates each, as measured.

From the reports of kubernetes-sigs/inference-perf,
`demos/kubecon-na-2025/*/results/stage_*_lifecycle_metrics.json` at commit 7de5ef2: vLLM 0.11.0,
Llama-3.1-8B-Instruct, one H100-80GB, 60 s for each rate, prompts of about 204 tokens of which 128 are one
of ten system prompts, a hundred prompts in all that are sent in turn. Gaps between arrivals are
exponential. The tool had 44 workers of 10 requests each: from 440 in flight on it waited itself, which is
why the first token stays near 3 s however far the server is overloaded.

Time per output token is derived, `(mean latency - mean first token) / (mean output - 1)`: the reports' own
figure counts two events a token. Decoding sequences are derived, too: `finished a second · (mean latency -
mean first token)`. The line is their least-squares fit.
"""

from __future__ import annotations

from dataclasses import dataclass

CALLERS = 440
SECONDS_PER_RATE = 60.0
SYSTEM_PROMPTS = 10
SYSTEM_PROMPT_TOKENS = 128
PROMPTS = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """What was measured at one offered rate."""

    offered_per_s: float
    served_per_s: float
    decoding: float
    first_token_p50_s: float
    token_s: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One way of starting vLLM; `line` is `token_s = line[0] + line[1] · decoding`."""

    preset: str
    folder: str
    prompt_tokens: float
    output_tokens: float
    line: tuple[float, float]
    rates: tuple[Rate, ...]

    def token_s(self, decoding: float) -> float:
        """Time per output token on the line."""
        return self.line[0] + self.line[1] * decoding


CURVES = (
    Curve(
        preset="h100-llama-3.1-8b",
        folder="vllm",
        prompt_tokens=204.1,
        output_tokens=62.4,
        line=(0.00679, 0.000104),
        rates=(
            Rate(1.0, 1.0, 0.5, 0.0310, 0.00723),
            Rate(31.4, 31.2, 16.1, 0.0293, 0.00842),
            Rate(61.8, 61.2, 39.5, 0.0335, 0.01050),
            Rate(92.2, 91.4, 88.7, 0.0445, 0.01583),
            Rate(122.6, 101.2, 124.3, 3.0356, 0.01999),
            Rate(153.0, 101.5, 124.2, 3.0345, 0.01996),
            Rate(183.4, 103.1, 123.7, 2.8865, 0.01954),
        ),
    ),
    Curve(
        preset="h100-llama-3.1-8b-192",
        folder="vllm+batch_size",
        prompt_tokens=200.9,
        output_tokens=62.8,
        line=(0.00668, 0.000106),
        rates=(
            Rate(1.0, 1.0, 0.4, 0.0329, 0.00733),
            Rate(38.0, 37.7, 20.1, 0.0306, 0.00862),
            Rate(74.9, 74.3, 53.9, 0.0372, 0.01175),
            Rate(111.9, 110.8, 171.9, 0.1055, 0.02511),
            Rate(148.9, 112.9, 185.5, 2.1778, 0.02658),
            Rate(185.9, 114.3, 186.3, 2.1848, 0.02635),
            Rate(222.8, 113.7, 181.5, 2.0974, 0.02582),
        ),
    ),
    Curve(
        preset="h100-llama-3.1-8b-prefix",
        folder="vllm+chunking_and_prefix_caching",
        prompt_tokens=203.1,
        output_tokens=62.4,
        line=(0.00735, 0.000036),
        rates=(
            Rate(1.0, 1.0, 0.5, 0.0293, 0.00741),
            Rate(43.2, 42.9, 21.3, 0.0269, 0.00809),
            Rate(85.5, 84.8, 46.6, 0.0287, 0.00895),
            Rate(127.8, 126.5, 80.2, 0.0321, 0.01031),
            Rate(170.0, 167.8, 119.3, 0.0548, 0.01158),
            Rate(212.2, 170.2, 125.3, 1.8265, 0.01198),
            Rate(254.5, 173.0, 125.3, 1.7896, 0.01180),
        ),
    ),
)
