"""The running set is bounded and the queue is first come, first served, whatever clients do."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag_service.model_server.scheduler import QueueFull, Scheduler, State

MAX_RUNNING = 3
MAX_WAITING = 4


class SchedulerMachine(RuleBasedStateMachine):
    """Holds the scheduler to a model made of two plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(MAX_RUNNING, MAX_WAITING)
        self.running: list[int] = []
        self.waiting: list[int] = []
        self.last = 0

    @rule()
    def submit(self) -> None:
        self.last += 1
        if len(self.running) == MAX_RUNNING and len(self.waiting) == MAX_WAITING:
            with pytest.raises(QueueFull):
                self.scheduler.submit(self.last)
        elif self.scheduler.submit(self.last) is State.RUNNING:
            self.running.append(self.last)
        else:
            self.waiting.append(self.last)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish_a_running_one(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.running))
        self.running.remove(sequence)
        admitted = self.scheduler.finish(sequence)
        assert admitted == (self.waiting[0] if self.waiting else None), "the first to come is the next to run"
        if admitted is not None:
            self.running.append(self.waiting.pop(0))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def hang_up_while_waiting(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(sequence)
        assert self.scheduler.finish(sequence) is None, "nobody gains a place that was not held"

    @invariant()
    def the_counts_are_true_and_bounded(self) -> None:
        load = self.scheduler.load
        assert (load.running, load.waiting) == (len(self.running), len(self.waiting))
        assert load.running <= MAX_RUNNING
        assert load.waiting == 0 or load.running == MAX_RUNNING, "nobody waits beside a free place"


TestScheduler = SchedulerMachine.TestCase


def test_a_sequence_cannot_be_submitted_twice() -> None:
    """Two places for one sequence would never both be freed."""
    scheduler = Scheduler(1, 1)
    scheduler.submit(1)
    with pytest.raises(ValueError, match="twice"):
        scheduler.submit(1)


def test_bounds_that_admit_nobody_are_refused() -> None:
    """The message gives the values and what is allowed."""
    with pytest.raises(ValueError, match="max_running=0"):
        Scheduler(0, 1)
