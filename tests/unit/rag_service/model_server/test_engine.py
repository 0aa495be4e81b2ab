"""Tokens come when their steps are done, and nobody's trouble is anybody else's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from rag_service.model_server import presets
from rag_service.model_server.cost import Cost
from rag_service.model_server.engine import CATCH_UP_S, Ended, Engine, Generation, Unobserved
from rag_service.model_server.presets import Preset
from rag_service.model_server.scheduler import Limits, Load, QueueFull, Step
from rag_service.model_server.virtual import Arrival, simulate

Run = Callable[[Coroutine[Any, Any, Any]], Any]
STEP_S = 0.010
PROMPT = ["word"] * 20


def _preset(cost: Cost | None = None, **limits: Any) -> Preset:
    usual = {"max_num_seqs": 2, "max_num_batched_tokens": 1000, "max_model_len": 1000, "kv_blocks": 200}
    return Preset("test", "t", "s", cost or Cost(base_s=STEP_S), Limits(**usual | limits))


def _engine(**limits: Any) -> Engine:
    return Engine(_preset(**limits), Random(0))


async def _times_s(engine: Engine, tokens: int, **more: Any) -> list[float]:
    """Seconds from the request to each of its tokens."""
    now_s = asyncio.get_running_loop().time
    began_s, times_s = now_s(), []
    async with engine.generate(PROMPT, tokens, **more) as generation:
        async for count in generation:
            times_s += [now_s() - began_s] * count
    return times_s


@asynccontextmanager
async def _stalled(engine: Engine, after: int, of: int) -> AsyncIterator[Generation]:
    """An answer that has so many tokens and asks for no more."""
    async with engine.generate(PROMPT, of, stepwise=True) as generation:
        for _ in range(after):
            assert await anext(generation) == 1
        yield generation


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_unloaded_request_of_the_default_preset_keeps_its_pace(run: Run) -> None:
    """80 ms to the first token and 8 ms to each further one, within the jitter."""
    times_s = run(_times_s(Engine(presets.load(presets.DEFAULT), Random(1)), 40))
    assert 0.072 <= times_s[0] <= 0.088
    gaps_s = [after - before for before, after in pairwise(times_s)]
    assert 0.0072 - 1e-9 <= min(gaps_s) < max(gaps_s) <= 0.0088 + 1e-9
    assert sum(gaps_s) / len(gaps_s) == pytest.approx(0.008, rel=0.05)


def test_answers_share_the_steps(run: Run) -> None:
    """Two run at a time, one token a step each; the third begins when a place is free."""

    async def three() -> Any:
        engine = _engine()
        return await asyncio.gather(*(_times_s(engine, tokens) for tokens in (2, 3, 2)))

    first, second, third = run(three())
    assert first == pytest.approx([STEP_S, 2 * STEP_S])
    assert second == pytest.approx([STEP_S, 2 * STEP_S, 3 * STEP_S])
    assert third == pytest.approx([3 * STEP_S, 4 * STEP_S])


def test_the_engine_does_what_the_virtual_driver_says(run: Run) -> None:
    """Two drivers of one scheduler: every token of every request at the same time."""
    cost = Cost(base_s=0.007, prefill_token_s=0.0002, decode_sequence_s=0.0005, request_s=0.02)
    preset = _preset(cost, max_num_seqs=4, max_num_batched_tokens=64, kv_blocks=12, max_model_len=192)
    random = Random(3)
    arrivals = [Arrival(n * 0.0111, random.randint(5, 90), random.randint(1, 30)) for n in range(40)]

    async def real() -> list[list[float]]:
        engine = Engine(replace(preset, limits=replace(preset.limits, prefix_caching=False)), Random(0))
        began_s = asyncio.get_running_loop().time()

        async def one(arrival: Arrival) -> list[float]:
            await asyncio.sleep(arrival.at_s)
            came_s = asyncio.get_running_loop().time() - began_s
            times_s = []
            async with engine.generate(range(arrival.prompt_tokens), arrival.output_tokens) as generation:
                async for count in generation:
                    times_s += [asyncio.get_running_loop().time() - began_s] * count
            assert came_s == pytest.approx(arrival.at_s)
            return times_s

        times = await asyncio.gather(*map(one, arrivals))
        assert engine.preemptions > 0
        return times

    expected = simulate(preset, arrivals, Random(0)).served
    assert sum(one.preemptions for one in expected) > 0
    for times_s, served in zip(run(real()), expected, strict=True):
        assert times_s == pytest.approx(served.token_times_s, abs=1e-6)


def test_a_stalled_answer_keeps_its_place_and_delays_nobody(run: Run) -> None:
    """Also with nothing more to give; the other place serves the others at full pace."""

    async def with_a_stall(after: int) -> None:
        engine = _engine()
        async with _stalled(engine, after, of=3):
            await asyncio.sleep(1.0)
            times = await asyncio.gather(*(_times_s(engine, 2) for _ in range(2)))
            assert engine.load.running == 1
        assert times[0] == pytest.approx([STEP_S, 2 * STEP_S])
        assert times[1] == pytest.approx([3 * STEP_S, 4 * STEP_S])
        assert engine.load.running == 0
        assert engine.finished == {"stop": 2 + (after == 3), "length": 0, "abort": int(after != 3)}

    for after in (1, 3):
        run(with_a_stall(after))


def test_a_stepwise_answer_that_nobody_delays_keeps_pace_with_the_others(run: Run) -> None:
    """Asking for each token costs no step, alone or beside others."""

    async def both() -> Any:
        engine = _engine()
        return await asyncio.gather(_times_s(engine, 4, stepwise=True), _times_s(engine, 3))

    stepwise, other = run(both())
    assert stepwise == pytest.approx([STEP_S, 2 * STEP_S, 3 * STEP_S, 4 * STEP_S])
    assert other == pytest.approx(stepwise[:3])


def test_a_stepwise_answer_waits_for_its_place_first(run: Run) -> None:
    """Whoever wants to act before its first token acts on an answer that runs."""

    async def queued() -> tuple[float, float]:
        engine = _engine(max_num_seqs=1)
        now_s = asyncio.get_running_loop().time
        other = asyncio.create_task(_times_s(engine, 5))
        await _settle()
        began_s = now_s()
        async with engine.generate(PROMPT, 1, stepwise=True) as generation:
            await generation.admitted()
            admitted_s = now_s() - began_s
            await anext(generation)
            await other
            return admitted_s, now_s() - began_s

    assert run(queued()) == pytest.approx((5 * STEP_S, 6 * STEP_S))


def test_a_hang_up_frees_the_place_at_once(run: Run) -> None:
    """In the middle of an answer and in the queue; who comes next begins with the next step."""

    async def hang_up() -> Any:
        engine = _engine(max_num_seqs=1)
        running, waiting, last = (asyncio.create_task(_times_s(engine, 50)) for _ in range(3))
        await asyncio.sleep(2.5 * STEP_S)
        assert (engine.load.running, engine.load.waiting) == (1, 2)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert (engine.load.running, engine.load.waiting) == (0, 1)
        times_s = await last
        assert engine.finished == {"stop": 1, "length": 0, "abort": 2}
        return times_s[0]

    assert run(hang_up()) == pytest.approx(4 * STEP_S)


def test_a_full_queue_refuses_and_forgets(run: Run) -> None:
    """Nothing is left of the one who was refused."""

    async def full() -> None:
        engine = _engine(max_num_seqs=1, max_waiting=0)
        held = asyncio.create_task(_times_s(engine, 3))
        await _settle()
        with pytest.raises(QueueFull):
            engine.check_room()
        with pytest.raises(QueueFull):
            engine.generate(PROMPT, 3)
        await held
        assert engine.finished.total() == 1
        assert await _times_s(engine, 1)

    run(full())


def test_a_late_loop_is_caught_up_with_but_not_for_ever(run: Run, clock: Any) -> None:
    """30 ms of somebody else's work cost nothing in the end; of a whole second, 0.9 s are lost."""

    async def answered_in_s(blocked_s: float) -> float:
        task = asyncio.create_task(_times_s(_engine(), 30))
        await asyncio.sleep(3.5 * STEP_S)
        clock.advance(blocked_s)
        return (await task)[-1]

    assert run(answered_in_s(0.03)) == pytest.approx(30 * STEP_S)
    assert run(answered_in_s(1.0)) == pytest.approx(30 * STEP_S + 1.0 - CATCH_UP_S, abs=1.5 * STEP_S)


def test_an_engine_with_nobody_to_serve_does_nothing(run: Run) -> None:
    """No task and no timer: the loop has this test alone."""

    async def idle() -> None:
        engine = _engine()
        assert len(asyncio.all_tasks()) == 1
        async with _stalled(engine, 1, of=2):
            await _settle()
            assert len(asyncio.all_tasks()) == 1, "a stalled answer alone is nothing to do either"
        await _times_s(engine, 3)
        await _settle()
        assert len(asyncio.all_tasks()) == 1

    run(idle())


def test_a_reader_that_comes_late_gets_all_that_is_due(run: Run) -> None:
    """The answer goes on without it, and its place is free when the answer is complete."""

    async def late() -> list[int]:
        engine = _engine()
        async with engine.generate(PROMPT, 5) as generation:
            await asyncio.sleep(3.5 * STEP_S)
            counts = [await anext(generation)]
            await asyncio.sleep(1.0)
            assert engine.load.running == 0
            return counts + [count async for count in generation]

    assert run(late()) == [3, 2]


class _Recorder(Unobserved):
    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []
        self.over: list[Ended] = []
        self.begun: list[float] = []

    def began(self, waited_s: float) -> None:
        self.begun.append(round(waited_s, 6))

    def stepped(self, step: Step, took_s: float, gave: int) -> None:  # noqa: ARG002
        self.steps.append((round(took_s, 6), gave))

    def ended(self, ended: Ended) -> None:
        self.over.append(ended)


def test_the_observer_learns_of_every_step_and_every_end(run: Run) -> None:
    """With the times that metrics need: arrival, place, first token, last token, end."""

    async def observed() -> _Recorder:
        recorder = _Recorder()
        engine = Engine(_preset(max_num_seqs=1), Random(0), recorder)
        tasks = [asyncio.create_task(_times_s(engine, 3, finish_reason="length")) for _ in range(2)]
        await asyncio.sleep(4.5 * STEP_S)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (engine.generation_tokens, engine.prompt_tokens) == (4, 40)
        assert engine.cached_tokens == 16, "the second prompt's first block was known"
        return recorder

    recorder = run(observed())
    assert recorder.steps == [(STEP_S, 1)] * 4
    assert recorder.begun == [STEP_S, pytest.approx(4 * STEP_S)]
    whole, aborted = recorder.over
    assert (whole.reason, whole.output_tokens, aborted.reason, aborted.output_tokens) == (
        "length",
        3,
        "abort",
        1,
    )
    assert whole.admitted_s == whole.arrived_s and whole.first_token_s and whole.last_token_s
    assert whole.first_token_s - whole.arrived_s == pytest.approx(STEP_S)
    assert whole.last_token_s - whole.first_token_s == pytest.approx(2 * STEP_S)
    assert aborted.admitted_s and aborted.admitted_s - aborted.arrived_s == pytest.approx(3 * STEP_S)
    assert aborted.cached_tokens == 16


def test_a_broken_engine_says_so_to_every_stream(run: Run) -> None:
    """Nobody waits for ever for a token that will not come."""

    class Broken(Unobserved):
        def stepped(self, step: Step, took_s: float, gave: int) -> None:  # noqa: ARG002
            raise RuntimeError("broken observer")

    async def two() -> list[Any]:
        engine = Engine(_preset(), Random(0), Broken())
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        return await asyncio.gather(*(_times_s(engine, 5) for _ in range(2)), return_exceptions=True)

    assert [str(error) for error in run(two())] == ["broken observer"] * 2


def test_a_broken_engine_forgets_whom_it_served_and_serves_on(run: Run) -> None:
    """Whoever got its last token in the step that broke is counted like the others, and nothing is left."""

    class BrokenOnce(Unobserved):
        broken = False

        def began(self, waited_s: float) -> None:  # noqa: ARG002
            if not self.broken:
                self.broken = True
                raise RuntimeError("broken observer")

    async def broken() -> None:
        engine = Engine(_preset(), Random(0), BrokenOnce())
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await asyncio.gather(*(_times_s(engine, tokens) for tokens in (1, 1, 5)), return_exceptions=True)
        assert engine.finished.total() == 3
        assert engine.load == Load(0, 0) and engine.kv_cache_used_ratio == 0.0
        assert len(await _times_s(engine, 3)) == 3

    run(broken())
