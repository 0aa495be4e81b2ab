"""The micro-batcher: company for questions, a bound on waiting."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from rag_service.errors import DependencyError, Overloaded, QueueTimeout
from rag_service.segments.batching import BatchPolicy, MicroBatcher


class Encoder:
    """Takes 5 ms a text and remembers its batches."""

    def __init__(self, per_text_s=0.005, error=None):
        self.batches = []
        self.per_text_s = per_text_s
        self.error = error

    async def __call__(self, texts):
        self.batches.append(len(texts))
        await asyncio.sleep(self.per_text_s * len(texts))
        if self.error:
            raise self.error
        return np.array([[float(text[:9])] for text in texts], dtype=np.float32)


def test_questions_that_arrive_together_share_a_batch(run, clock):
    """Forty at once are two batches of at most 32, and everybody gets their own vector."""
    encoder = Encoder(per_text_s=0.001)
    batcher = MicroBatcher(encoder, BatchPolicy(), clock)

    async def crowd():
        return await asyncio.gather(*(batcher.submit(str(n)) for n in range(40)))

    embeddings = run(crowd())
    assert encoder.batches == [32, 8]
    assert [embedding.vector[0] for embedding in embeddings] == list(range(40))
    assert embeddings[0].batch_size == 32
    assert embeddings[39].queue_wait_s > embeddings[0].queue_wait_s


def test_a_lonely_question_waits_only_for_the_linger_time(run, clock):
    """Its queue wait is the 4 ms in which company may come."""
    embedding = run(MicroBatcher(Encoder(), BatchPolicy(), clock).submit("1"))
    assert embedding.queue_wait_s == pytest.approx(0.004)


def test_who_waits_longer_than_the_queue_deadline_is_turned_away(run, clock):
    """While one batch takes a second, the next question leaves after 100 ms and is never encoded."""
    encoder = Encoder(per_text_s=1.0)
    batcher = MicroBatcher(encoder, BatchPolicy(), clock)

    async def two():
        first = asyncio.create_task(batcher.submit("1"))
        await asyncio.sleep(0.01)
        started = clock()
        with pytest.raises(QueueTimeout):
            await batcher.submit("2")
        assert clock() - started == pytest.approx(0.1)
        await first

    run(two())
    assert encoder.batches == [1]


def test_a_late_loop_turns_nobody_away_from_an_idle_encoder(run, clock):
    """The deadline passed while the process stood still, with the encoder free: the next batch has room."""
    encoder = Encoder()
    batcher = MicroBatcher(encoder, BatchPolicy(), clock)

    async def scene():
        waiting = [asyncio.create_task(batcher.submit(str(n))) for n in range(3)]
        await asyncio.sleep(0)
        clock.advance(1.0)  # as a long pause of the whole process does
        return await asyncio.gather(*waiting)

    assert [embedding.vector[0] for embedding in run(scene())] == [0, 1, 2]
    assert encoder.batches == [3]


def test_whoever_a_late_batch_has_no_room_for_is_turned_away(run, clock):
    """An idle encoder excuses as many as it takes, not a whole queue."""
    encoder = Encoder()
    batcher = MicroBatcher(encoder, BatchPolicy(max_batch=2), clock)

    async def scene():
        waiting = [asyncio.create_task(batcher.submit(str(n))) for n in range(3)]
        await asyncio.sleep(0)
        clock.advance(1.0)
        return await asyncio.gather(*waiting, return_exceptions=True)

    *served, late = run(scene())
    assert [embedding.vector[0] for embedding in served] == [0, 1]
    assert isinstance(late, QueueTimeout)


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([10] * 8, [8]),
        ([100, 100, 100], [2, 1]),
        ([10, 10, 100, 10], [2, 2]),
        ([5000, 10], [1, 1]),
    ],
)
def test_a_batch_is_bounded_by_its_padded_length(run, clock, lengths, batches):
    """Texts times the longest stay within the bound; a single text of any length is always taken."""
    encoder = Encoder()
    batcher = MicroBatcher(encoder, BatchPolicy(max_characters=200, queue_deadline_s=None), clock)

    async def crowd():
        await asyncio.gather(*(batcher.submit("7" * n) for n in lengths))

    run(crowd())
    assert encoder.batches == batches


def test_a_full_queue_refuses_at_once(run, clock):
    """The queue is bounded in number as well as in time."""
    batcher = MicroBatcher(Encoder(), BatchPolicy(max_queue=2), clock)

    async def three():
        waiting = [asyncio.create_task(batcher.submit(str(n))) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 questions are queued"):
            await batcher.submit("2")
        await asyncio.gather(*waiting)

    run(three())


def test_an_encoder_error_reaches_every_waiter_and_the_next_batch_works(run, clock):
    """One bad batch is not the end of embedding, and no fault of the service."""
    encoder = Encoder(error=ValueError("bad"))
    batcher = MicroBatcher(encoder, BatchPolicy(), clock)

    async def crowd():
        results = await asyncio.gather(*(batcher.submit(str(n)) for n in range(3)), return_exceptions=True)
        encoder.error = None
        return results, await batcher.submit("7")

    results, after = run(crowd())
    assert [type(result) for result in results] == [DependencyError] * 3
    assert {result.reason for result in results} == {"encoding_failed"}
    assert after.vector[0] == 7.0


def test_an_encoder_that_loses_a_vector_leaves_nobody_waiting(run, clock):
    """Two vectors for three questions: whose is whose cannot be told, so all three are told that."""

    async def forgetful(texts):
        return np.zeros((len(texts) - 1, 3), dtype=np.float32)

    batcher = MicroBatcher(forgetful, BatchPolicy(), clock)

    async def crowd():
        async with asyncio.timeout(5.0):
            return await asyncio.gather(*(batcher.submit(str(n)) for n in range(3)), return_exceptions=True)

    assert [type(result) for result in run(crowd())] == [DependencyError] * 3


def test_a_caller_who_hangs_up_is_not_encoded(run, clock):
    """Cancelled while queued means no work; the others are served."""
    encoder = Encoder()
    batcher = MicroBatcher(encoder, BatchPolicy(), clock)

    async def three():
        tasks = [asyncio.create_task(batcher.submit(str(n))) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = run(three())
    assert encoder.batches == [2]
    assert isinstance(results[1], asyncio.CancelledError)
    assert results[2].vector[0] == 2.0


def test_callers_who_hung_up_take_no_place_in_the_queue(run, clock):
    """A full queue whose callers have left is an empty one."""
    encoder = Encoder(per_text_s=1.0)
    batcher = MicroBatcher(encoder, BatchPolicy(max_queue=2, queue_deadline_s=None), clock)

    async def scene():
        first = asyncio.create_task(batcher.submit("1"))
        await asyncio.sleep(0.01)  # it is in the encoder
        gone = [asyncio.create_task(batcher.submit(str(n))) for n in range(2)]
        await asyncio.sleep(0)
        assert batcher.queued == 2
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert batcher.queued == 0
        second = await batcher.submit("7")
        await first
        return second

    assert run(scene()).vector[0] == 7.0
    assert encoder.batches == [1, 1]


def test_a_caller_who_hung_up_does_not_lengthen_a_batch(run, clock):
    """A long question that nobody waits for any more leaves the short ones their one batch."""
    encoder = Encoder()
    policy = BatchPolicy(max_characters=200, queue_deadline_s=None, linger_s=0.0)
    batcher = MicroBatcher(encoder, policy, clock)

    async def scene():
        tasks = [asyncio.create_task(batcher.submit("7" * length)) for length in (10, 150, 10, 10)]
        # the batch is taken in the very turn of the loop in which the caller leaves
        asyncio.get_running_loop().call_soon(tasks[1].cancel)
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = run(scene())
    assert isinstance(results[1], asyncio.CancelledError)
    assert encoder.batches == [3]


def test_whose_time_ran_out_while_the_encoder_was_idle_is_not_forgotten(run, clock):
    """A batcher whose clock is behind the loop's: the question that the next batch left out leaves soon."""
    encoder = Encoder(per_text_s=1.0)
    policy = BatchPolicy(max_characters=9, linger_s=0.15)  # a batch has room for one of the two
    batcher = MicroBatcher(encoder, policy, lambda: clock() / 2.0)

    async def scene():
        first, second = (asyncio.create_task(batcher.submit("7" * 9)) for _ in range(2))
        started = clock()
        with pytest.raises(QueueTimeout):
            await second
        assert clock() - started < 0.2
        return await first

    assert run(scene()).batch_size == 1
    assert encoder.batches == [1]
