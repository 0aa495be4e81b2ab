"""Where a run gets its stack from: one of its own, or one that runs of the same need have in turn.

A stack that is shared costs its start (half a minute) once. It has a folder, a journal and a warden of its
own, so that it is guarded between two runs, too; a run that has it describes it in its own bundle, gets the
telemetry and the fault proxy's evidence of its time there, and ends nothing of it. What the service has
learned (its caches) stays: a run on a shared stack is not the first of its service's life.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from chaos.clock import Clock
from chaos.run.held_stack import HeldStack
from chaos.run.run_stack import SPOOL, RunStack, Say, StackNeed, Tap
from chaos.stack.opening import open_receiver


class Stacks(Protocol):
    """Who gives stacks to runs."""

    def for_run(
        self, need: StackNeed, bundle: Path, say: Say, tap: Tap = lambda _body: None
    ) -> AbstractContextManager[RunStack]:
        """A stack that is up, for as long as the block lasts; `tap` hears its spans."""
        ...

    def serves(self, need: StackNeed) -> bool:
        """Whether a run with that need would not have to wait for a start, as far as is known."""
        ...

    def close(self) -> None:
        """End what is up between runs. Raises EnvironmentFailure when something of it is left."""
        ...


class FreshStacks:
    """A stack for each run, which ends with it."""

    @contextmanager
    def for_run(
        self, need: StackNeed, bundle: Path, say: Say, tap: Tap = lambda _body: None
    ) -> Iterator[RunStack]:
        with (
            open_receiver(bundle / SPOOL, need.target, tap) as receiver,
            need.open(bundle, receiver, say) as stack,
        ):
            yield RunStack(stack, receiver)

    def serves(self, need: StackNeed) -> bool:
        del need
        return False

    def close(self) -> None:
        """Between runs there is none."""


class SharedStacks:
    """One stack at a time, for as many runs as need such a one in a row; `close` it after the last."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._held: HeldStack | None = None
        self._started = 0

    def serves(self, need: StackNeed) -> bool:
        """Whether a run with that need would not have to wait for a start, as far as is known."""
        return self._held is not None and self._held.need == need

    @contextmanager
    def for_run(
        self, need: StackNeed, bundle: Path, say: Say, tap: Tap = lambda _body: None
    ) -> Iterator[RunStack]:
        if not need.can_be_shared:
            with FreshStacks().for_run(need, bundle, say, tap) as own:
                yield own
            return
        on = None
        try:
            on = self._lend(need, bundle, say, tap)
            yield on
            if on.reusable and self._held is not None:
                on.goes_on = self._held.take_back(say)
        finally:
            if on is None or not on.goes_on:
                self.close()

    def close(self) -> None:
        """End the stack that is up, if one is. Raises EnvironmentFailure when something of it is left."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _lend(self, need: StackNeed, bundle: Path, say: Say, tap: Tap) -> RunStack:
        if self._held is not None and (why := self._held.unfit(need)):
            say(f"a new stack: {why}")
            self.close()
        if self._held is not None:
            self._held.lend(bundle, tap)
        else:
            self._started += 1
            folder = self._folder / f"stack-{self._started}"
            self._held = HeldStack.start(need, folder, bundle, say, tap, self._clock)
        return self._held.on
