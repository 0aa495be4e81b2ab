"""How a client sees each kind of fault: one case for each, which every kind must have.

A case is what makes a fault shown rather than claimed: `test_every_fault.py` takes each through its life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .eyes import Question, Seen

SEARCH = "/v1/collections/corpus/search"
QUESTIONS: Mapping[str, tuple[Question, ...]] = {
    "llm": (
        Question(
            "/v1/chat/completions",
            {
                "model": "tiny",
                "stream": True,
                "max_tokens": 12,
                "messages": [{"role": "user", "content": "How do I rename a file? " * 8}],
            },
        ),
    ),
    "vector_db": tuple(
        Question(SEARCH, {"vectors": [[round(sign * 0.001 * n, 6) for n in range(384)]], "k": 3})
        for sign in (1, -1)
    ),
}

Effect = Callable[[Seen, Seen], bool]
"""What a client sees, and what it would have seen without the fault."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault of one kind, and how a client sees it."""

    on: str
    effect: Effect
    raw: Mapping[str, Any] = field(default_factory=dict)
    spoils: bool = True
    """An answer that shows it is another one; else it says the same, only later or in other pieces."""
    closes: bool = False
    """The clients ask for a connection that ends behind its answer."""
    times: int = 1
    """So many vectors in each search, which then takes time to compute."""
    crowd: int = 0
    """So many others want connections to the part while it is in, and keep them open."""


def _is(outcome: str) -> Effect:
    return lambda seen, _: seen.outcome == outcome


def _status(code: int) -> Effect:
    return lambda seen, _: seen.status == code


def _fails(seen: Seen, _: Seen) -> bool:
    return seen.outcome != "whole" or seen.status == 502


def _hits(seen: Seen) -> list[Any]:
    return list(seen.json["results"][0])


def _shuffled(seen: Seen, whole: Seen) -> bool:
    names, scores = ([hit[key] for hit in _hits(seen)] for key in ("id", "score"))
    of_whole, scores_of_whole = ([hit[key] for hit in _hits(whole)] for key in ("id", "score"))
    return names != of_whole and sorted(names) == sorted(of_whole) and scores == scores_of_whole


def _stale(seen: Seen, whole: Seen) -> bool:
    return seen.status == 200 and _hits(seen) != _hits(whole)


AFTER_THREE = {"after_tokens": 3}
CASES: Mapping[str, Case] = {
    "abort": Case("llm", lambda seen, _: seen.finish == "abort" and seen.is_done, AFTER_THREE),
    "bandwidth": Case("llm", lambda seen, _: seen.over_s > len(seen.body) / 6_000, {"rate": 5}, spoils=False),
    "context_overflow": Case("llm", _status(400)),
    "cpu_hog": Case(
        "vector_db",
        lambda seen, whole: seen.over_s > 2 * whole.over_s,
        {"workers": 6},
        spoils=False,
        times=64,
    ),
    "cut": Case("llm", lambda seen, _: seen.outcome == "broken off" and len(seen.token_s) == 3, AFTER_THREE),
    "done_after_abort": Case(
        "llm",
        lambda seen, _: seen.finish == "error" and seen.is_done,
        {**AFTER_THREE, "finish_reason": "error"},
    ),
    "down": Case("vector_db", _is("refused")),
    "empty_results": Case("vector_db", lambda seen, _: seen.status == 200 and _hits(seen) == []),
    "file_descriptors": Case("llm", _fails, {"leave": 0}, crowd=12),
    "http_error": Case(
        "vector_db",
        lambda seen, _: seen.status == 429 and seen.retry_after == "2",
        {"status": 429, "retry_after": "1500ms"},
    ),
    "kill": Case("llm", _fails),
    "latency": Case("llm", lambda seen, _: (seen.head_s or 0.0) >= 0.6, {"latency": "600ms"}, spoils=False),
    "limit_data": Case("llm", _is("broken off"), {"bytes": 700}),
    "malformed_chunk": Case("llm", lambda seen, _: seen.unreadable == 1 and seen.is_done, AFTER_THREE),
    "malformed_json": Case("vector_db", lambda seen, _: seen.status == 200 and seen.json is None),
    "memory_pressure": Case("llm", lambda seen, whole: seen.says == whole.says, {"mib": 64}, spoils=False),
    "pause": Case("llm", _is("silent")),
    "rate_limited": Case(
        "llm", lambda seen, _: seen.status == 429 and seen.retry_after == "2", {"retry_after": "1500ms"}
    ),
    "reset": Case("llm", _is("reset")),
    "restart": Case("llm", _fails, {"grace": "1s"}),
    "shuffled_results": Case("vector_db", _shuffled),
    "slicer": Case(
        "llm",
        lambda seen, whole: seen.reads > 3 * whole.reads,
        {"average_size": 16, "size_variation": 8, "delay": "1ms"},
        spoils=False,
    ),
    "slow_body": Case(
        "vector_db",
        lambda seen, _: bool(seen.body_s and seen.head_s) and seen.body_s - seen.head_s >= 0.5,
        {"delay": "600ms"},
        spoils=False,
    ),
    "slow_close": Case(
        "llm",
        lambda seen, _: seen.over_s - (seen.whole_s or seen.over_s) >= 0.5,
        {"delay": "600ms"},
        spoils=False,
        closes=True,
    ),
    "slow_first_token": Case(
        "llm", lambda seen, _: bool(seen.token_s) and seen.token_s[0] >= 0.6, {"delay": "600ms"}, spoils=False
    ),
    "slow_startup": Case(
        "llm", lambda seen, _: seen.status == 503 and b"Loading" in seen.body, {"lasts": "60s"}
    ),
    "slow_tokens": Case(
        "llm",
        lambda seen, _: bool(seen.token_s) and seen.token_s[-1] - seen.token_s[0] >= 0.6,
        {"delay": "100ms"},
        spoils=False,
    ),
    "stale_results": Case("vector_db", _stale, {"behind": 1}),
    "stall": Case("llm", lambda seen, _: seen.outcome == "silent" and len(seen.token_s) == 3, AFTER_THREE),
    "timeout": Case("vector_db", _is("silent")),
    "truncate": Case(
        "llm",
        lambda seen, _: seen.outcome == "whole" and not seen.is_done and len(seen.token_s) == 3,
        AFTER_THREE,
    ),
    "unavailable": Case("llm", _status(503)),
    "wrong_dimension": Case("vector_db", _status(422)),
}
