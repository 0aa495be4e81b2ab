"""The stream guard: tokens are timed, endings are judged."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rag_service.errors import DeadlineExceeded, DependencyTimeout, StreamFailed
from rag_service.resilience.deadline import Deadline, Limit
from rag_service.resilience.stream import Delta, TokenGuard, Usage, Watch


async def deltas(*script):
    """Numbers wait that many seconds, deltas are sent."""
    for item in script:
        if isinstance(item, Delta):
            yield item
        else:
            await asyncio.sleep(item)


async def collect(clock, *script, patience_s=1000.0, first_s=2.0):
    guard = TokenGuard("llm", deltas(*script), gap_s=3.0, deadline=Deadline.after(patience_s, clock))
    await guard.prime(Limit(first_s, by_deadline=False))
    texts = []
    try:
        async for text in guard:
            texts.append(text)
    except Exception as error:
        return guard, texts, error
    return guard, texts, None


STOP = Delta(finish_reason="stop")
A, B = Delta("a"), Delta("b")


def test_a_good_stream_gives_its_text_and_its_usage(run, clock):
    """The primed token comes first, empty deltas are not tokens, usage is kept."""
    guard, texts, error = run(collect(clock, Delta(), A, 0.1, B, STOP, Delta(usage=Usage(7, 2))))
    assert (texts, error) == (["a", "b"], None)
    assert (guard.finish_reason, guard.tokens, guard.usage) == ("stop", 2, Usage(7, 2))


def test_length_is_a_good_ending_too(run, clock):
    """An answer cut by max_tokens is whole as far as the server is concerned."""
    _, texts, error = run(collect(clock, A, Delta(finish_reason="length")))
    assert (texts, error) == (["a"], None)


def test_no_first_token_in_time(run, clock):
    """Frames without text do not count: the role arrives at once, the token after 5 s."""
    with pytest.raises(DependencyTimeout):
        run(collect(clock, Delta(), 1.0, Delta(), 4.0, A, STOP))


def test_a_stall_is_noticed_between_tokens_although_frames_keep_coming(run, clock):
    """Empty deltas every second keep the connection alive, but 3 s without a token are a stall."""
    pings = [item for _ in range(10) for item in (1.0, Delta())]
    _, texts, error = run(collect(clock, A, *pings, B, STOP))
    assert texts == ["a"]
    assert isinstance(error, StreamFailed)
    assert error.reason == "llm_stalled"


def test_gaps_below_the_limit_are_no_stall(run, clock):
    """Negative control: 2.9 s between tokens is slow, not stalled, however long the whole takes."""
    _, texts, error = run(collect(clock, A, 2.9, B, 2.9, A, 2.9, B, STOP))
    assert (len(texts), error) == (4, None)


def test_the_callers_deadline_ends_a_stream(run, clock):
    """Total time comes from the deadline, and is not the dependency's fault."""
    _, texts, error = run(collect(clock, A, 2.0, B, 2.0, A, 2.0, B, STOP, patience_s=5.0))
    assert texts == ["a", "b", "a"]
    assert isinstance(error, DeadlineExceeded)


def test_an_end_without_finish_reason_is_a_cut(run, clock):
    """`[DONE]` or EOF alone does not make an answer whole."""
    _, texts, error = run(collect(clock, A, B))
    assert texts == ["a", "b"]
    assert isinstance(error, StreamFailed)
    assert error.reason == "llm_stream_cut"


@pytest.mark.parametrize("reason", ["abort", "error", "content_filter"])
def test_an_abort_dressed_as_success_is_found(run, clock, reason):
    """Only stop and length are good endings."""
    _, _, error = run(collect(clock, A, Delta(finish_reason=reason)))
    assert isinstance(error, StreamFailed)
    assert error.reason == "llm_aborted"


def test_an_answer_without_any_token_fails_before_the_commit_point(run, clock):
    """A stream that ends well but empty is raised while another rung can still answer."""
    with pytest.raises(StreamFailed) as raised:
        run(collect(clock, STOP))
    assert raised.value.reason == "llm_empty"


class TestWatch:
    """One timer for many waits."""

    def test_many_waits_share_one_timer(self, run):
        """A thousand tokens within the limit leave one timer behind, not a thousand."""

        async def scene():
            loop = asyncio.get_running_loop()
            armed = []
            call_at = loop.call_at
            loop.call_at = lambda when, *more, **kw: armed.append(when) or call_at(when, *more, **kw)
            watch = Watch()
            for _ in range(1000):
                watch.begin(3.0)
                watch.end()
            watch.stop()
            return len(armed)

        assert run(scene()) == 1

    def test_a_later_wait_is_not_ended_by_an_earlier_ones_time(self, run, clock):
        """The timer fires at the first wait's end, sees another wait, and sleeps on until that one's."""

        async def scene():
            watch = Watch()
            watch.begin(3.0)
            await asyncio.sleep(2.0)
            assert not watch.end()
            watch.begin(3.0)
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                return watch.end(), clock.now

        before = clock.now
        ended, now = run(scene())
        assert ended
        assert now - before == pytest.approx(5.0)

    def test_a_shorter_wait_is_ended_in_its_own_time(self, run, clock):
        """A deadline that comes before the gap's end arms the timer anew."""

        async def scene():
            watch = Watch()
            watch.begin(3.0)
            watch.end()
            watch.begin(1.0)
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                return watch.end(), clock.now

        before = clock.now
        ended, now = run(scene())
        assert ended
        assert now - before == pytest.approx(1.0)

    def test_nobody_is_cancelled_between_two_waits(self, run):
        """What the caller does with a token is its own time."""

        async def scene():
            watch = Watch()
            watch.begin(1.0)
            watch.end()
            await asyncio.sleep(30.0)
            watch.begin(1.0)
            return watch.end()

        assert run(scene()) is False

    def test_a_cancellation_from_outside_stays_one(self, run, clock):
        """A hang-up during a wait is no stall, and is passed on."""

        async def hang_up():
            guard = TokenGuard("llm", deltas(A, 60.0), gap_s=3.0, deadline=Deadline.after(1000.0, clock))
            await guard.prime(Limit(2.0, by_deadline=False))
            await anext(guard)
            waiting = asyncio.ensure_future(anext(guard))
            await asyncio.sleep(1.0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return True

        assert run(hang_up())

    def test_a_timeout_inside_another_timeout_leaves_the_outer_one_alone(self, run, clock):
        """A stall is reported as such under `asyncio.timeout`, and the task is not left cancelled."""

        async def scene():
            guard = TokenGuard("llm", deltas(A, 60.0), gap_s=3.0, deadline=Deadline.after(1000.0, clock))
            async with asyncio.timeout(30.0):
                await guard.prime(Limit(2.0, by_deadline=False))
                await anext(guard)
                with pytest.raises(StreamFailed):
                    await anext(guard)
                await asyncio.sleep(1.0)
            return asyncio.current_task().cancelling()

        assert run(scene()) == 0

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(
        gaps=st.lists(st.floats(0.01, 5.0).map(lambda gap: round(gap, 2)), min_size=1, max_size=12),
        patience_s=st.floats(1.0, 30.0),
    )
    def test_a_stream_goes_on_exactly_as_long_as_gaps_and_deadline_allow(self, run, clock, gaps, patience_s):
        """For any gaps: as many tokens as a plain sum says, then a stall, the deadline, or the end."""
        at, expected, ending = 0.0, 1, None
        for gap in gaps:
            allowed = min(3.0, patience_s - at)
            assume(abs(allowed - gap) > 0.005 and abs(allowed) > 0.005)
            if allowed <= 0.0 or gap > allowed:
                ending = DeadlineExceeded if allowed < 3.0 else StreamFailed
                break
            at, expected = at + gap, expected + 1
        assume(ending is not None or patience_s - at > 0.005)
        script = [A, *(item for gap in gaps for item in (gap, B)), STOP]
        _, texts, error = run(collect(clock, *script, patience_s=patience_s))
        assert len(texts) == expected
        assert (type(error) if error else None) is ending


def test_a_wait_without_any_time_left_is_watched_on_uvloop_too() -> None:
    """uvloop's handle of a timer that is due at once cannot say when that is: nothing may ask it."""

    async def wait_twice() -> None:
        watch = Watch()
        watch.begin(0.0)
        assert not watch.end()
        watch.begin(5.0)
        assert not watch.end()
        watch.stop()

    uvloop.run(wait_twice())
