"""The same scheduler without a clock: time jumps from the end of one step to the end of the next.

A minute of a busy server takes about a second, so that a preset can be held to published curves, and a fit
can try many. There is no second implementation here: who is in a step is the scheduler's to say, how long
it takes `Cost`'s, and both are what the engine runs in real time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field
from itertools import count
from random import Random

from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import QueueFull, Scheduler, Sequence


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that comes at `at_s`; equal hashes are equal beginnings of prompts."""

    at_s: float
    prompt_tokens: int
    output_tokens: int
    hashes: Listed[int] = ()


@dataclass(slots=True)
class Served:
    """A request's life: when it was sent, got its place, got each of its tokens."""

    arrived_s: float
    prompt_tokens: int
    admitted_s: float | None = None
    cached_tokens: int = 0
    preemptions: int = 0
    token_times_s: list[float] = field(default_factory=list)

    @property
    def first_token_s(self) -> float:
        """How long the first token took."""
        return self.token_times_s[0] - self.arrived_s

    @property
    def decode_s(self) -> float:
        """From the first token to the last."""
        return self.token_times_s[-1] - self.token_times_s[0]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of the arrivals, in the order in which they were sent."""

    served: tuple[Served, ...]
    refused: int
    steps: int


def simulate(
    preset: Preset, arrivals: Iterable[Arrival], random: Random, *, in_flight: int | None = None
) -> Simulation:
    """Serve the arrivals; `in_flight` callers, if given, each wait for an answer before they send again."""
    return _Run(preset, arrivals, random, in_flight).to_the_end()


class _Run:
    def __init__(
        self, preset: Preset, arrivals: Iterable[Arrival], random: Random, in_flight: int | None
    ) -> None:
        self._scheduler = Scheduler(preset.limits)
        self._cost = preset.cost
        self._random = random
        self._coming = deque(sorted(arrivals, key=lambda arrival: arrival.at_s))
        self._free_callers = in_flight if in_flight is not None else len(self._coming) + 1
        self._caller_free_since_s = 0.0
        self._overheads: list[tuple[float, int, Sequence]] = []
        self._numbers = count()
        self._under_way: dict[Sequence, Served] = {}
        self._served: list[Served] = []
        self._refused = 0

    def to_the_end(self) -> Simulation:
        now_s, steps = 0.0, 0
        while True:
            self._take_in(now_s)
            step = self._scheduler.plan()
            for sequence in step.admitted:
                served = self._under_way[sequence]
                if served.admitted_s is None:  # else it was preempted before
                    served.admitted_s = now_s
            if step.empty:
                upcoming_s = self._upcoming_s()
                if upcoming_s is None:
                    break
                now_s = upcoming_s
                continue
            steps += 1
            now_s += self._cost.step_s(step.prefill_tokens, len(step.decoding), self._random)
            self._take_in(now_s)  # whoever comes during the step, before places are freed at its end
            progress = self._scheduler.finish(step)
            for sequence in progress.gave:
                self._under_way[sequence].token_times_s.append(now_s)
            for sequence in progress.ended:
                served = self._under_way.pop(sequence)
                served.cached_tokens, served.preemptions = sequence.cached_tokens, sequence.preemptions
                self._free_a_caller(now_s)
        return Simulation(tuple(self._served), self._refused, steps)

    def _upcoming_s(self) -> float | None:
        """When something happens next, if nothing is computed in the meantime."""
        times_s = [self._overheads[0][0]] if self._overheads else []
        if self._coming and self._free_callers:
            times_s.append(max(self._coming[0].at_s, self._caller_free_since_s))
        return min(times_s, default=None)

    def _take_in(self, until_s: float) -> None:
        while self._coming and self._free_callers and self._coming[0].at_s <= until_s:
            self._send(self._coming.popleft())
        while self._overheads and self._overheads[0][0] <= until_s:
            self._scheduler.release(heapq.heappop(self._overheads)[2])

    def _send(self, arrival: Arrival) -> None:
        sent_s = max(arrival.at_s, self._caller_free_since_s)
        overhead_s = self._cost.overhead_s(arrival.prompt_tokens, self._scheduler.load.running, self._random)
        sequence = Sequence(arrival.prompt_tokens, arrival.output_tokens, arrival.hashes, held=overhead_s > 0)
        try:
            self._scheduler.submit(sequence)
        except QueueFull:
            self._refused += 1
            return
        self._free_callers -= 1
        self._under_way[sequence] = served = Served(sent_s, arrival.prompt_tokens)
        self._served.append(served)
        if overhead_s > 0:
            heapq.heappush(self._overheads, (sent_s + overhead_s, next(self._numbers), sequence))

    def _free_a_caller(self, now_s: float) -> None:
        if not self._free_callers:
            self._caller_free_since_s = now_s
        self._free_callers += 1
