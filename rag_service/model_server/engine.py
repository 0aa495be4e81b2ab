"""The scheduler on the event loop: one task takes one step after another and hands the tokens over when due.

Steps have absolute due times: a late wake-up is caught up with, up to `CATCH_UP_S`, rather than added to
every later token. Between steps the loop belongs to the streams. Handing a token over is a count and, if
its reader waits, the result of one future; nothing is copied, so the engine costs a few microseconds a
token. With nobody to serve there is no task and no timer.

Leaving a generation frees its place and blocks at once, whatever the reason for leaving: that is the whole of
what happens when a client hangs up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Protocol, Self

from rag_service.model_server.kv_cache import block_hashes
from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import Limits, Load, Scheduler, Sequence, Step

CATCH_UP_S = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """A generation that is over, in times of the loop's clock; None is what it never reached."""

    reason: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    preemptions: int
    arrived_s: float
    admitted_s: float | None
    first_token_s: float | None
    last_token_s: float | None
    ended_s: float


class Observer(Protocol):
    """Whoever wants to know what the engine did, such as the metrics; what it takes delays every stream."""

    def began(self, waited_s: float) -> None:
        """A generation got its first token, so long after its arrival."""

    def stepped(self, step: Step, took_s: float, gave: int) -> None:
        """A step is done: `took_s` since the last one, or since it began; `gave` sequences got a token."""

    def ended(self, ended: Ended) -> None:
        """A generation is over."""


class Unobserved:
    """Nobody wants to know."""

    def began(self, waited_s: float) -> None: ...

    def stepped(self, step: Step, took_s: float, gave: int) -> None: ...

    def ended(self, ended: Ended) -> None: ...


class Generation:
    """One answer under way: `async with` holds it, `async for` says how many tokens have become due.

    Each turn of the loop gives the number of tokens that are due and not yet taken, at least 1. It ends
    after the last token. A stepwise generation computes a token only when it is asked for, so that whoever
    delays its asking delays this answer and no other, and keeps its place until it is left.
    """

    __slots__ = (
        "_asked",
        "_engine",
        "_timer",
        "_waiter",
        "admitted_s",
        "arrived_s",
        "due",
        "error",
        "finish_reason",
        "first_token_s",
        "last_token_s",
        "sequence",
        "taken",
    )

    def __init__(self, engine: Engine, sequence: Sequence, finish_reason: str, arrived_s: float) -> None:
        self._asked = False
        self._engine = engine
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.sequence = sequence
        self.finish_reason = finish_reason
        self.arrived_s = arrived_s
        self.admitted_s: float | None = None
        self.first_token_s: float | None = None
        self.last_token_s: float | None = None
        self.due = 0
        self.taken = 0
        self.error: BaseException | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine._leave(self, complete=error is None and self.taken == self.sequence.output_tokens)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        """How many tokens have become due since the last call."""
        if self.taken == self.due:
            if self.taken == self.sequence.output_tokens:
                raise StopAsyncIteration
            if self.sequence.stepwise:
                self._engine._ask(self)
            while self.taken == self.due:
                await self._woken()
        count = self.due - self.taken
        self.taken = self.due
        return count

    async def admitted(self) -> None:
        """Wait for a place."""
        while self.admitted_s is None:
            await self._woken()

    async def _woken(self) -> None:
        if self.error is not None:
            raise self.error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Engine:
    """Runs generations under one scheduler on the current event loop, and counts what vLLM counts."""

    def __init__(self, preset: Preset, random: Random, observer: Observer | None = None) -> None:
        self._scheduler = Scheduler(preset.limits)
        self._cost = preset.cost
        self._random = random
        self.observer: Observer = observer or Unobserved()
        self._generations: dict[Sequence, Generation] = {}
        self._task: asyncio.Task[None] | None = None
        self.received = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.cached_tokens = 0
        self.preemptions = 0
        self.finished: Counter[str] = Counter({"stop": 0, "length": 0, "abort": 0})

    @property
    def limits(self) -> Limits:
        return self._scheduler.limits

    @property
    def load(self) -> Load:
        return self._scheduler.load

    @property
    def kv_cache_used_ratio(self) -> float:
        return self._scheduler.kv_cache.used_ratio

    def check_room(self) -> None:
        """Raises QueueFull if a request would be refused now; before the work of deciding its answer."""
        self._scheduler.check_room()

    def generate(
        self,
        prompt: Listed[Hashable],
        output_tokens: int,
        finish_reason: str = "stop",
        *,
        stepwise: bool = False,
    ) -> Generation:
        """Queue an answer of so many tokens, to be used with `async with`. QueueFull, PromptTooLong."""
        limits = self.limits
        hashes = block_hashes(prompt, limits.block_tokens) if limits.prefix_caching else ()
        prompt_tokens = max(len(prompt), 1)
        overhead_s = self._cost.overhead_s(prompt_tokens, self._scheduler.load.running, self._random)
        sequence = Sequence(prompt_tokens, output_tokens, hashes, held=overhead_s > 0, stepwise=stepwise)
        self._scheduler.submit(sequence)
        loop = asyncio.get_running_loop()
        generation = Generation(self, sequence, finish_reason, loop.time())
        self._generations[sequence] = generation
        if overhead_s > 0:
            generation._timer = loop.call_later(overhead_s, self._overhead_is_over, generation)
        self._go_on()
        return generation

    def _overhead_is_over(self, generation: Generation) -> None:
        generation._timer = None
        if not generation.sequence.stepwise or generation._asked:
            self._scheduler.release(generation.sequence)
            self._go_on()

    def _ask(self, generation: Generation) -> None:
        """Compute one token of a stepwise generation."""
        generation._asked = True
        if generation._timer is None:
            self._scheduler.release(generation.sequence)
            self._go_on()

    def _leave(self, generation: Generation, *, complete: bool) -> None:
        if generation._timer is not None:
            generation._timer.cancel()
        if generation.sequence in self._generations:  # else it was over before
            self._scheduler.abort(generation.sequence)
            self._count(generation, generation.finish_reason if complete else "abort")
            self._go_on()

    def _count(self, generation: Generation, reason: str) -> None:
        del self._generations[generation.sequence]
        self.finished[reason] += 1
        self.observer.ended(
            Ended(
                reason,
                generation.sequence.prompt_tokens,
                generation.sequence.cached_tokens,
                generation.due,
                generation.sequence.preemptions,
                generation.arrived_s,
                generation.admitted_s,
                generation.first_token_s,
                generation.last_token_s,
                asyncio.get_running_loop().time(),
            )
        )

    def _go_on(self) -> None:
        """There may be something to do. A task that runs will see it before its next step."""
        if self._task is None and self._generations:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        now_s = asyncio.get_running_loop().time
        due_s = before_s = now_s()
        try:
            while not (step := self._plan(now_s())).empty:
                took_s = self._cost.step_s(step.prefill_tokens, len(step.decoding), self._random)
                due_s = max(due_s, now_s() - CATCH_UP_S) + took_s
                await asyncio.sleep(due_s - now_s())
                done_s = now_s()
                self._hand_over(step, done_s, done_s - before_s)
                before_s = done_s
                await asyncio.sleep(0)  # the streams first: who asks step by step can ask for the next one
        except Exception as error:
            for generation in self._generations.values():
                generation.error = error
                generation._wake()
            raise
        finally:
            self._task = None

    def _plan(self, at_s: float) -> Step:
        step = self._scheduler.plan()
        for sequence in step.admitted:
            generation = self._generations[sequence]
            if generation.admitted_s is None:
                generation.admitted_s = at_s
                generation._wake()
        self.preemptions += len(step.preempted)
        return step

    def _hand_over(self, step: Step, at_s: float, took_s: float) -> None:
        progress = self._scheduler.finish(step)
        generations = self._generations
        for sequence in progress.gave:
            generation = generations[sequence]
            generation.due += 1
            generation.last_token_s = at_s
            if generation.due == 1:
                generation.first_token_s = at_s
                self.observer.began(at_s - generation.arrived_s)
                self.prompt_tokens += sequence.prompt_tokens
                self.cached_tokens += sequence.cached_tokens
            waiter = generation._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self.generation_tokens += len(progress.gave)
        for sequence in progress.ended:
            self._count(generations[sequence], generations[sequence].finish_reason)
        self.observer.stepped(step, took_s, len(progress.gave))
