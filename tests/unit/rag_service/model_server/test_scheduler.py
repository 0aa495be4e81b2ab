"""vLLM's rules of who is in a step, whatever clients do."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rag_service.model_server.kv_cache import block_hashes
from rag_service.model_server.scheduler import (
    Limits,
    PromptTooLong,
    QueueFull,
    Scheduler,
    Sequence,
    State,
    Step,
)

BLOCK_TOKENS = 4
MAX_WAITING = 4
LONGEST = 40


def _limits(**more: Any) -> Limits:
    usual = {
        "max_num_seqs": 3,
        "max_num_batched_tokens": LONGEST,
        "max_model_len": LONGEST,
        "kv_blocks": 100,
        "block_tokens": BLOCK_TOKENS,
        "max_waiting": MAX_WAITING,
    }
    return Limits(**usual | more)


def _sequence(prompt_tokens: int = 8, output_tokens: int = 3, **more: Any) -> Sequence:
    return Sequence(prompt_tokens, output_tokens, **more)


class SchedulerMachine(RuleBasedStateMachine):
    """Submits, steps, holds, releases and aborts; blocks are scarce, so that preemption is common."""

    @initialize(
        chunked=st.booleans(), caching=st.booleans(), blocks=st.integers(10, 16), budget=st.integers(3, 24)
    )
    def begin(self, chunked: bool, caching: bool, blocks: int, budget: int) -> None:
        self.limits = _limits(
            chunked_prefill=chunked,
            prefix_caching=caching,
            kv_blocks=blocks,
            max_num_batched_tokens=budget if chunked else LONGEST,
        )
        self.scheduler = Scheduler(self.limits)
        self.submitted: list[Sequence] = []
        self.ended: list[Sequence] = []
        self.aborted: set[Sequence] = set()
        self.tokens: dict[Sequence, int] = {}

    @property
    def alive(self) -> list[Sequence]:
        return [one for one in self.submitted if one.state is not State.ENDED]

    @rule(
        prompt=st.integers(1, 26),
        output=st.integers(1, 14),
        family=st.sampled_from("ab"),
        held=st.booleans(),
        stepwise=st.sampled_from([False, False, True]),
    )
    def submit(self, prompt: int, output: int, family: str, held: bool, stepwise: bool) -> None:
        hashes = block_hashes(family * prompt, BLOCK_TOKENS) if self.limits.prefix_caching else ()
        sequence = Sequence(prompt, output, hashes, held=held, stepwise=stepwise)
        load = self.scheduler.load
        if load.waiting >= MAX_WAITING + self.limits.max_num_seqs - load.running:
            with pytest.raises(QueueFull):
                self.scheduler.submit(sequence)
            assert sequence.state is State.NEW
            return
        self.scheduler.submit(sequence)
        self.submitted.append(sequence)
        self.tokens[sequence] = 0

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.alive))
        self.scheduler.abort(sequence)
        self.aborted.add(sequence)

    @precondition(lambda self: any(one.held for one in self.alive))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.scheduler.release(data.draw(st.sampled_from([one for one in self.alive if one.held])))

    @rule()
    def step(self) -> None:
        self._finish(self._plan())

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def step_in_which_somebody_hangs_up(self, data: st.DataObject) -> None:
        step = self._plan()
        self.abort(data)
        self._finish(step)

    def _plan(self) -> Step:
        held = [one for one in self.alive if one.held]
        decoding = [one for one in self.alive if one.computed and not one.held and _missing(one) == 1]
        step = self.scheduler.plan()
        assert set(decoding) <= {*step.decoding, *step.preempted, *(one for one, _ in step.prefills)}, (
            "whoever decodes is in every step"
        )
        if any(one.preemptions == 0 for one in step.admitted):
            waiting = [one for one in self.alive if one.state is State.WAITING]
            assert all(one.preemptions == 0 for one in waiting), "who was preempted comes first"
        assert step.prefill_tokens == sum(tokens for _, tokens in step.prefills)
        assert step.prefill_tokens + len(step.decoding) <= self.limits.max_num_batched_tokens
        taking_part = [one for one, _ in step.prefills] + step.decoding
        assert len(set(taking_part)) == len(taking_part), "nobody takes part twice"
        assert not set(held) & set(taking_part), "whoever is held takes no part"
        for one, tokens in step.prefills:
            assert tokens >= 1
            assert one.computed + tokens <= one.prompt_tokens + one.given
            if not self.limits.chunked_prefill:
                assert one.computed + tokens == one.prompt_tokens + one.given, "prompts are whole"
        return step

    def _finish(self, step: Step) -> None:
        progress = self.scheduler.finish(step)
        for one in progress.gave:
            assert one not in self.aborted
            self.tokens[one] += 1
        for one in progress.ended:
            assert one not in self.ended, "nobody ends twice"
            assert self.tokens[one] == one.output_tokens, "all tokens were given"
            self.ended.append(one)

    @invariant()
    def places_are_bounded_and_first_come_is_first_served(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        load = self.scheduler.load
        numbers = {one: number for number, one in enumerate(self.submitted)}
        running = [numbers[one] for one in self.alive if one.state is State.RUNNING]
        waiting = [numbers[one] for one in self.alive if one.state is State.WAITING]
        assert (load.running, load.waiting) == (len(running), len(waiting))
        assert load.running <= self.limits.max_num_seqs
        new = [number for number in waiting if not self.submitted[number].preemptions]
        assert not running or not new or max(running) < min(new), "nobody was overtaken"

    @invariant()
    def no_block_is_lost(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        holdings = [one.holding for one in self.submitted]
        private = sum(holding.blocks - len(holding.shared) for holding in holdings)
        shared = {block for holding in holdings for block in holding.shared}
        assert self.scheduler.kv_cache.available == self.limits.kv_blocks - private - len(shared)
        for one in self.submitted:
            assert one.computed <= one.holding.tokens or one.state is State.ENDED
            assert one.state is State.RUNNING or one.holding.blocks == 0

    @invariant()
    def tokens_are_counted_once(self) -> None:
        if hasattr(self, "scheduler"):
            assert all(one.given == self.tokens[one] <= one.output_tokens for one in self.submitted)

    def teardown(self) -> None:
        """Whoever is not aborted ends with all its tokens, and then every block is free."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(5000):
            for one in self.alive:
                if one.given == one.output_tokens:
                    self.scheduler.abort(one)  # a stepwise one, whose caller has it all
                elif one.held:
                    self.scheduler.release(one)
            if not self.alive:
                break
            step = self._plan()
            assert not step.empty or step.preempted, "somebody can always go on"
            self._finish(step)
        assert not self.alive
        for one in set(self.submitted) - self.aborted:
            assert self.tokens[one] == one.output_tokens
            assert one.stepwise or one in self.ended
        assert self.scheduler.kv_cache.available == self.limits.kv_blocks


def _missing(one: Sequence) -> int:
    return one.prompt_tokens + one.given - one.computed


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=60, stateful_step_count=40)


def _steps(scheduler: Scheduler, limit: int = 200) -> list[tuple[int, int]]:
    """Prefill tokens and decoding sequences, step by step, until nobody can go on."""
    taken = []
    while not (step := scheduler.plan()).empty:
        taken.append((step.prefill_tokens, len(step.decoding)))
        scheduler.finish(step)
        assert len(taken) < limit
    return taken


def test_a_prompt_is_computed_once_and_then_each_step_gives_a_token() -> None:
    """The step that computes the prompt gives the first."""
    scheduler = Scheduler(_limits())
    scheduler.submit(_sequence(8, 3))
    assert _steps(scheduler) == [(8, 0), (0, 1), (0, 1)]


def test_decoding_goes_on_beside_the_chunks_of_a_long_prompt() -> None:
    """The budget is 10: a prompt of 25 takes what the decoding sequence leaves."""
    scheduler = Scheduler(_limits(max_num_batched_tokens=10))
    scheduler.submit(_sequence(8, 5))
    scheduler.finish(scheduler.plan())
    scheduler.submit(_sequence(25, 1))
    assert _steps(scheduler) == [(9, 1), (9, 1), (7, 1), (0, 1)]


def test_without_chunks_a_prompt_waits_until_it_fits_whole() -> None:
    """Forty tokens a step: two prompts of 25 take two steps, and the first of them decodes in the second."""
    scheduler = Scheduler(_limits(chunked_prefill=False))
    for _ in range(2):
        scheduler.submit(_sequence(25, 2))
    assert _steps(scheduler) == [(25, 0), (25, 1), (0, 1)]


def test_the_one_who_came_last_is_preempted_and_computes_everything_anew() -> None:
    """Five blocks of four tokens: two prompts of eight fit until both grow; all is computed again."""
    scheduler = Scheduler(_limits(kv_blocks=5, max_model_len=20, prefix_caching=False))
    first, second = _sequence(8, 6), _sequence(8, 6)
    scheduler.submit(first)
    scheduler.submit(second)
    scheduler.finish(scheduler.plan())
    step = scheduler.plan()
    assert (step.decoding, step.preempted) == ([first], [second])
    assert scheduler.load.waiting == 1
    scheduler.finish(step)
    assert _steps(scheduler) == [(0, 1)] * 4 + [(9, 0)] + [(0, 1)] * 4
    assert second.given == 6


def test_a_known_beginning_is_not_computed_again_but_the_last_token_always_is() -> None:
    """Sixteen tokens are four blocks; the second time twelve of them are spared, although all are known."""
    scheduler = Scheduler(_limits())
    hashes = block_hashes("aaaabbbbccccdddd", BLOCK_TOKENS)
    scheduler.submit(Sequence(16, 1, hashes))
    again = Sequence(16, 1, hashes)
    assert _steps(scheduler) == [(16, 0)]
    scheduler.submit(again)
    assert _steps(scheduler) == [(4, 0)]
    assert again.cached_tokens == 12


def test_a_held_sequence_keeps_its_place_and_delays_nobody() -> None:
    """One place of two is held: the others pass through the second one."""
    scheduler = Scheduler(_limits(max_num_seqs=2))
    held, other, third = _sequence(held=True), _sequence(output_tokens=2), _sequence(output_tokens=2)
    for one in (held, other, third):
        scheduler.submit(one)
    assert _steps(scheduler) == [(8, 0), (0, 1), (8, 0), (0, 1)]
    assert (held.state, third.state) == (State.RUNNING, State.ENDED)
    scheduler.release(held)
    assert _steps(scheduler) == [(8, 0), (0, 1), (0, 1)]


def test_a_prompt_that_was_held_comes_after_those_who_decode() -> None:
    """The budget is 10: 25 tokens take what the other leaves, although their request came first."""
    scheduler = Scheduler(_limits(max_num_batched_tokens=10))
    late, other = _sequence(25, 1, held=True), _sequence(8, 5)
    scheduler.submit(late)
    scheduler.submit(other)
    scheduler.finish(scheduler.plan())
    scheduler.release(late)
    assert _steps(scheduler) == [(9, 1), (9, 1), (7, 1), (0, 1)]


def test_who_finds_no_blocks_after_it_was_held_is_not_passed_by_smaller_ones() -> None:
    """Ten blocks, two in use: a prompt of nine waits; one of two behind it could begin, and does not."""
    scheduler = Scheduler(_limits(kv_blocks=10, max_num_seqs=4))
    running, large = _sequence(5, 3), _sequence(36, 1, held=True)
    for one in (running, large):
        scheduler.submit(one)
    scheduler.finish(scheduler.plan())
    scheduler.release(large)
    small = _sequence(8, 1, held=True)
    scheduler.submit(small)
    scheduler.finish(scheduler.plan())
    scheduler.release(small)
    assert _steps(scheduler) == [(0, 1), (36, 0), (8, 0)]


def test_a_prompt_begins_only_when_all_of_it_finds_blocks() -> None:
    """Six of ten blocks are free: a chunk of four would fit, and seven are needed in the end."""
    scheduler = Scheduler(_limits(kv_blocks=10, max_num_batched_tokens=16, prefix_caching=False))
    first, second = _sequence(16, 4), _sequence(25, 1)
    for one in (first, second):
        scheduler.submit(one)
    assert _steps(scheduler) == [(16, 0), *[(0, 1)] * 3, (16, 0), (9, 0)]
    assert first.preemptions == second.preemptions == 0


def test_who_holds_no_blocks_is_not_preempted() -> None:
    """It came last, but taking its place would free nothing: the one before it goes."""
    scheduler = Scheduler(_limits(kv_blocks=5, max_model_len=20, prefix_caching=False))
    first, second, held = _sequence(8, 6), _sequence(8, 6), _sequence(held=True)
    for one in (first, second, held):
        scheduler.submit(one)
    scheduler.finish(scheduler.plan())
    assert scheduler.plan().preempted == [second]
    assert (held.state, held.preemptions) == (State.RUNNING, 0)


def test_what_a_preempted_sequence_finds_of_its_own_is_not_counted_as_spared() -> None:
    """Its prompt's blocks are still known when it comes back; vLLM counts the first time alone."""
    scheduler = Scheduler(_limits(kv_blocks=5, max_model_len=20))
    first, second = (Sequence(8, 6, block_hashes(letter * 8, BLOCK_TOKENS)) for letter in "ab")
    scheduler.submit(first)
    scheduler.submit(second)
    taken = _steps(scheduler)
    assert second.preemptions == 1
    assert (5, 0) in taken, "a block of four was found again"
    assert second.cached_tokens == 0


def test_a_stepwise_sequence_gives_one_token_for_each_release_and_keeps_its_place() -> None:
    """Also after its last one, until it is aborted."""
    scheduler = Scheduler(_limits())
    sequence = _sequence(8, 2, stepwise=True)
    scheduler.submit(sequence)
    assert _steps(scheduler) == []
    for expected in ([(8, 0)], [(0, 1)], []):
        scheduler.release(sequence)
        assert _steps(scheduler) == expected
    assert (sequence.given, scheduler.load.running) == (2, 1)
    scheduler.abort(sequence)
    assert scheduler.load.running == 0


def test_the_queue_is_bounded_behind_those_who_find_a_place() -> None:
    """One place and none to wait in: the second is refused, and once the first is gone a third is not."""
    scheduler = Scheduler(_limits(max_num_seqs=1, max_waiting=0))
    first = _sequence()
    scheduler.submit(first)
    with pytest.raises(QueueFull, match="0 requests wait already"):
        scheduler.check_room()
    scheduler.abort(first)
    scheduler.submit(_sequence())


def test_what_the_context_cannot_hold_is_refused() -> None:
    """The message has all three numbers."""
    with pytest.raises(PromptTooLong, match=r"40 tokens, but 38 of prompt and 3 of answer"):
        Scheduler(_limits()).submit(_sequence(38, 3))
    Scheduler(_limits()).submit(_sequence(37, 3))


def test_a_sequence_cannot_be_submitted_twice() -> None:
    """Two places for one sequence would never both be freed."""
    scheduler, sequence = Scheduler(_limits()), _sequence()
    scheduler.submit(sequence)
    with pytest.raises(ValueError, match="twice"):
        scheduler.submit(sequence)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_num_seqs": 0}, "max_num_seqs is 0"),
        ({"max_waiting": -1}, "max_waiting is -1"),
        ({"kv_blocks": 9}, "kv_blocks · block_tokens hold only 36"),
        ({"max_num_seqs": 41}, "at least max_num_seqs, which is 41"),
        ({"chunked_prefill": False, "max_num_batched_tokens": 39}, "without chunked prefill"),
    ],
)
def test_limits_under_which_somebody_would_wait_for_ever_are_refused(
    wrong: dict[str, Any], said: str
) -> None:
    """The message gives the values and what is allowed."""
    with pytest.raises(ValueError, match=said):
        _limits(**wrong)


def test_an_empty_prompt_or_answer_is_refused() -> None:
    """A step gives at least one token."""
    with pytest.raises(ValueError, match="output_tokens=0"):
        Sequence(1, 0)
