"""The stream guard: tokens are timed, endings are judged."""

from __future__ import annotations

import asyncio

import pytest

from rag_service.errors import DeadlineExceeded, DependencyTimeout, StreamFailed
from rag_service.resilience.deadline import Deadline, Limit
from rag_service.resilience.stream import Delta, TokenGuard, Usage


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
