"""Who may generate now and who waits: a bounded running set and a first-come, first-served queue.

This is vLLM's `max_num_seqs` with its waiting queue. It is pure state, without clock or loop, so that its
rules can be tested exhaustively: the server wakes whoever `finish` returns.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a sequence is."""

    RUNNING = "running"
    WAITING = "waiting"


class QueueFull(Exception):
    """The waiting queue has reached its bound."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many sequences run and wait."""

    running: int
    waiting: int


class Scheduler:
    """Admits sequences, named by the caller, in the order in which they came."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        if max_running < 1 or max_waiting < 0:
            raise ValueError(
                f"max_running={max_running}, max_waiting={max_waiting}; allowed: at least 1 and at least 0"
            )
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._running: set[int] = set()
        self._waiting: OrderedDict[int, None] = OrderedDict()

    @property
    def load(self) -> Load:
        """The numbers behind `vllm:num_requests_running` and `vllm:num_requests_waiting`."""
        return Load(len(self._running), len(self._waiting))

    def submit(self, sequence: int) -> State:
        """Start a sequence, or queue it behind those that came before. Raises QueueFull at the bound."""
        if sequence in self._running or sequence in self._waiting:
            raise ValueError(f"sequence {sequence} was submitted twice")
        if len(self._running) < self._max_running:
            self._running.add(sequence)
            return State.RUNNING
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull(f"{self._max_waiting} requests wait already")
        self._waiting[sequence] = None
        return State.WAITING

    def finish(self, sequence: int) -> int | None:
        """A sequence ended or its client hung up: free its place. Returns the sequence that may start now."""
        if sequence in self._waiting:
            del self._waiting[sequence]
            return None
        self._running.remove(sequence)
        if not self._waiting:
            return None
        admitted, _ = self._waiting.popitem(last=False)
        self._running.add(admitted)
        return admitted
