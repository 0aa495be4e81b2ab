"""What a server is asked while it is measured: so many callers at a time, lengths drawn from a range.

A closed loop: each caller waits for its answer before it asks again, so the number of requests in flight is
what was said, whatever the server's pace. Lengths vary, because callers whose answers are all equally long
end up in step with each other, and because a prompt's cost shows only between long and short ones. The same
requests, in the same order, go to the simulator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

#: Requests of each caller that are sent before those that count (the callers begin at the same moment).
WARM_UP_ROUNDS = 2
#: Requests of each caller that count at least: with fewer, a level is mostly its beginning and its end.
ROUNDS = 16
#: A 95th percentile of fewer is the largest value.
LEAST_REQUESTS = 40
#: Requests in company wait for each other, and how long is partly luck: so many times as many tell the 95th
#: percentile as well as those of a single caller do, whose first token follows from its prompt.
IN_COMPANY = 3


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def draw(self, random: Random) -> int:
        return random.randint(self.low, self.high)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: tokens of its prompt, tokens of its answer."""

    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Level:
    """So many callers, and the requests that they share out among them; those in the middle count."""

    concurrency: int
    asks: tuple[Ask, ...]
    first: int
    count: int

    @property
    def counted(self) -> slice:
        return slice(self.first, self.first + self.count)


def warm_up(level: Level) -> Level:
    """The first rounds of a level alone, for a server that was started a moment ago: its first full batches
    are slower than all later ones (memory is had for the first time, kernels are chosen)."""
    return Level(level.concurrency, level.asks[: level.first], 0, level.first)


def parse_range(text: str, *, least: int, most: int) -> Range:
    """The range that `64-512` or `128` names. Raises ValueError."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip())
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not least <= low <= high <= most:
        raise ValueError(
            f"{text!r} is not a range; write 64-512, or 128, with numbers from {least} to {most}"
        )
    return Range(low, high)


def levels(
    concurrencies: Sequence[int], prompt: Range, output: Range, requests: int, seed: int
) -> tuple[Level, ...]:
    """The requests of each level. After those that count come others, so that these end in company."""
    found = []
    for concurrency in concurrencies:
        random = Random(f"{seed} {concurrency}")
        wanted = requests if concurrency == 1 else IN_COMPANY * requests
        before, count = WARM_UP_ROUNDS * concurrency, max(wanted, ROUNDS * concurrency)
        asks = tuple(
            Ask(prompt.draw(random), output.draw(random)) for _ in range(before + count + concurrency)
        )
        found.append(Level(concurrency, asks, before, count))
    return tuple(found)
