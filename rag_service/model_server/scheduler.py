"""Who is in the next step: vLLM V1's scheduler as pure state, without clock or loop.

Sequences wait, first come, first served, until one of `max_num_seqs` places and enough KV blocks are free.
A step has a budget of tokens: running sequences take theirs first (one each while they decode), then the
prompts of those that are admitted, in chunks if that is on and whole otherwise; a prompt begins only when
all of it would find blocks. When a running sequence finds no block, the one that began last is preempted: it
loses its blocks, goes back to the head of the queue and computes everything anew later.

What a sequence says is decided elsewhere; here tokens are only counted. Whoever drives it calls `plan`, lets
the time of the step pass, and calls `finish`; `submit`, `release` and `abort` may come at any moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field, fields
from enum import Enum

from rag_service.model_server.kv_cache import Holding, KvCache


class State(Enum):
    """Where a sequence is."""

    NEW = "new"
    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


class QueueFull(Exception):
    """The waiting queue has reached its bound."""


class PromptTooLong(Exception):
    """Prompt and answer together do not fit the model's context."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What vLLM is told at its start, under vLLM's names.

    `max_waiting` has no counterpart there: vLLM's --max-num-queued-reqs bounds those that run and wait
    together, so it is `max_num_seqs` + `max_waiting`.
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    kv_blocks: int
    block_tokens: int = 16
    max_waiting: int = 10_000
    chunked_prefill: bool = True
    prefix_caching: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            value, least = getattr(self, item.name), int(item.name != "max_waiting")
            if not isinstance(value, bool) and value < least:
                raise ValueError(f"{item.name} is {value}; it must be at least {least}")
        if self.kv_blocks * self.block_tokens < self.max_model_len:
            raise ValueError(
                f"max_model_len is {self.max_model_len}, but kv_blocks · block_tokens hold only "
                f"{self.kv_blocks * self.block_tokens} tokens; raise kv_blocks or lower max_model_len"
            )
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens}; it must be at least "
                f"max_num_seqs, which is {self.max_num_seqs}"
            )
        if not self.chunked_prefill and self.max_num_batched_tokens < self.max_model_len:
            raise ValueError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens}; without chunked prefill it must "
                f"be at least max_model_len, which is {self.max_model_len}"
            )


@dataclass(frozen=True, slots=True)
class Load:
    """How many sequences run and wait."""

    running: int
    waiting: int


class Sequence:
    """One request: `prompt_tokens` to compute (with a hash for each full block), `output_tokens` to give.

    A held sequence keeps its place, or gets one in its turn, but is in no step until it is released. A
    stepwise one is held anew after each token, and keeps its place after the last one until it is aborted.
    """

    __slots__ = (
        "cached_tokens",
        "computed",
        "given",
        "hashes",
        "held",
        "holding",
        "output_tokens",
        "preemptions",
        "prompt_tokens",
        "state",
        "stepwise",
    )

    def __init__(
        self,
        prompt_tokens: int,
        output_tokens: int,
        hashes: Listed[int] = (),
        *,
        held: bool = False,
        stepwise: bool = False,
    ) -> None:
        if prompt_tokens < 1 or output_tokens < 1:
            raise ValueError(
                f"prompt_tokens={prompt_tokens}, output_tokens={output_tokens}; each must be at least 1"
            )
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.hashes = hashes
        self.held = held or stepwise
        self.stepwise = stepwise
        self.state = State.NEW
        self.computed = 0
        self.given = 0
        self.preemptions = 0
        #: Prompt tokens that the prefix cache spared at first; what it spares after a preemption is its own.
        self.cached_tokens = 0
        self.holding = Holding()


@dataclass(slots=True)
class Step:
    """One step of the batch: who computes how much of its prompt, who decodes one token."""

    prefills: list[tuple[Sequence, int]] = field(default_factory=list)
    decoding: list[Sequence] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)
    prefill_tokens: int = 0

    @property
    def empty(self) -> bool:
        return not self.prefills and not self.decoding


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step brought: who got a token (those that ended included), and who ended."""

    gave: list[Sequence]
    ended: list[Sequence]


class Scheduler:
    """Plans steps for the sequences that were submitted."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.kv_cache = KvCache(limits.kv_blocks, limits.block_tokens, prefix_caching=limits.prefix_caching)
        #: Those that have blocks, in the order in which they began.
        self._running: list[Sequence] = []
        #: Those that have a place and no blocks: what holds them goes on, or their prompt finds no room.
        self._placed: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()

    @property
    def load(self) -> Load:
        """The numbers behind `vllm:num_requests_running` and `vllm:num_requests_waiting`."""
        return Load(len(self._running) + len(self._placed), len(self._waiting))

    def check_room(self) -> None:
        """Raises QueueFull if one more would wait behind `max_waiting` others that find no place either."""
        load = self.load
        if load.running + load.waiting >= self.limits.max_num_seqs + self.limits.max_waiting:
            raise QueueFull(f"{self.limits.max_waiting} requests wait already")

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence behind those that came before. Raises QueueFull and PromptTooLong."""
        if sequence.state is not State.NEW:
            raise ValueError("the sequence was submitted twice")
        longest = self.limits.max_model_len
        if sequence.prompt_tokens + sequence.output_tokens > longest:
            raise PromptTooLong(
                f"This model's maximum context length is {longest} tokens, but {sequence.prompt_tokens} of "
                f"prompt and {sequence.output_tokens} of answer were asked for."
            )
        self.check_room()
        sequence.state = State.WAITING
        self._waiting.append(sequence)

    def release(self, sequence: Sequence) -> None:
        """Let a held sequence into the steps; a stepwise one for one token."""
        sequence.held = sequence.given >= sequence.output_tokens

    def abort(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is: its place and blocks are free at once."""
        if sequence.state is State.WAITING:
            self._waiting.remove(sequence)
        elif sequence.state is State.RUNNING:
            (self._running if sequence.holding.blocks else self._placed).remove(sequence)
            self.kv_cache.free(sequence.holding)
        sequence.state = State.ENDED

    def plan(self) -> Step:
        """The next step. Empty when nobody can go on; held sequences may have been admitted all the same."""
        step = Step()
        budget = self._continue_running(step, self.limits.max_num_batched_tokens)
        if not step.preempted:
            self._admit(step, self._start_placed(step, budget))
        return step

    def finish(self, step: Step) -> Progress:
        """The step is done: count its tokens. Those that were aborted in the meantime get none."""
        gave: list[Sequence] = []
        for sequence, tokens in step.prefills:
            if sequence.state is State.RUNNING:
                sequence.computed += tokens
                if sequence.computed == sequence.prompt_tokens + sequence.given:
                    gave.append(sequence)
        for sequence in step.decoding:
            if sequence.state is State.RUNNING:
                sequence.computed += 1
                gave.append(sequence)
        ended: list[Sequence] = []
        for sequence in gave:
            sequence.given += 1
            if sequence.stepwise:
                sequence.held = True
            elif sequence.given == sequence.output_tokens:
                self.abort(sequence)
                ended.append(sequence)
        return Progress(gave, ended)

    def _continue_running(self, step: Step, budget: int) -> int:
        """Take in those who run, as far as the budget goes; what is left of it comes back."""
        position = 0
        while position < len(self._running) and budget > 0:
            sequence = self._running[position]
            position += 1
            if sequence.held:
                continue
            missing = sequence.prompt_tokens + sequence.given - sequence.computed
            tokens = min(missing, budget)
            if sequence.computed + tokens > sequence.holding.tokens and not self._grow(
                sequence, tokens, step
            ):
                break
            if missing == 1 and sequence.given > 0:
                step.decoding.append(sequence)
            else:
                self._compute(sequence, tokens, step)
            budget -= tokens
        return budget

    def _grow(self, sequence: Sequence, tokens: int, step: Step) -> bool:
        """Get blocks for more tokens, from those who began last if need be; False if that is itself."""
        while not self.kv_cache.grow(sequence.holding, sequence.computed + tokens):
            last = self._running.pop()
            self.kv_cache.free(last.holding)
            last.computed = 0
            last.preemptions += 1
            last.state = State.WAITING
            self._waiting.appendleft(last)
            step.preempted.append(last)
            if last is sequence:
                return False
        return True

    def _start_placed(self, step: Step, budget: int) -> int:
        """Begin the prompts of those who are held no longer; what new ones may use of the budget comes back.

        As with those who wait, whoever cannot begin keeps the others back: else the small would pass the
        large for ever.
        """
        for sequence in [one for one in self._placed if not one.held]:
            tokens = self._start(sequence, budget, step)
            if not tokens:
                return 0
            self._placed.remove(sequence)
            budget -= tokens
        return budget

    def _admit(self, step: Step, budget: int) -> None:
        """Give free places to those who wait, in turn: whoever cannot begin keeps the others back."""
        while self._waiting and len(self._running) + len(self._placed) < self.limits.max_num_seqs:
            sequence = self._waiting[0]
            if sequence.held:
                self._placed.append(sequence)
            elif tokens := self._start(sequence, budget, step):
                budget -= tokens
            else:
                return
            self._waiting.popleft()
            sequence.state = State.RUNNING
            step.admitted.append(sequence)

    def _start(self, sequence: Sequence, budget: int, step: Step) -> int:
        """Begin a prompt: how many of its tokens are in this step, with blocks for them; 0 if it cannot."""
        total = sequence.prompt_tokens + sequence.given
        block_tokens = self.limits.block_tokens
        # The last token is always computed: its result is the next one.
        known = self.kv_cache.known(sequence.hashes[: (total - 1) // block_tokens])
        tokens = total - known * block_tokens
        if tokens > budget:
            if not self.limits.chunked_prefill:
                return 0
            tokens = budget
        reached = known * block_tokens + tokens
        if not tokens or not self.kv_cache.start(
            sequence.holding, sequence.hashes, known, reached, total=total
        ):
            return 0
        sequence.computed = known * block_tokens
        if not sequence.preemptions:
            sequence.cached_tokens = sequence.computed
        self._running.append(sequence)
        self._compute(sequence, tokens, step)
        return tokens

    def _compute(self, sequence: Sequence, tokens: int, step: Step) -> None:
        """Put a part of a prompt into the step; its full blocks are there for whoever comes after."""
        self.kv_cache.publish(sequence.holding, sequence.hashes, sequence.computed + tokens)
        step.prefills.append((sequence, tokens))
        step.prefill_tokens += tokens
