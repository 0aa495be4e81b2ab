"""The memory of attention: blocks of tokens that sequences hold, and prompts' blocks that outlive them.

vLLM gives keys and values in blocks of 16 tokens. With prefix caching a full block of a prompt is known by a
hash of everything up to its end, counted by reference while sequences use it, and kept after the last one
until room is needed: then the block that was unused for longest goes first, and of one prompt its tail before
its head.

Blocks have no numbers here, because nothing is stored in them: how many are free, and which hashes are
present, is all that the scheduler asks. Two differences to vLLM: generated tokens are not hashed, so whoever
was preempted computes its answer's tokens anew, and a block that was computed twice at the same time is kept
once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence


def block_hashes(tokens: Sequence[Hashable], block_tokens: int) -> tuple[int, ...]:
    """One hash for each full block of a prompt; it covers all tokens up to the block's end."""
    hashes: list[int] = []
    before = 0
    for end in range(block_tokens, len(tokens) + 1, block_tokens):
        before = hash((before, *tokens[end - block_tokens : end]))
        hashes.append(before)
    return tuple(hashes)


class Holding:
    """The blocks of one sequence: room for `tokens`, its first blocks shared under their hashes."""

    __slots__ = ("blocks", "shared", "tokens")

    def __init__(self) -> None:
        self.blocks = 0
        self.tokens = 0
        self.shared: list[int] = []


class KvCache:
    """Counts blocks. Every block is free, unused but known by its hash, or held."""

    def __init__(self, blocks: int, block_tokens: int, *, prefix_caching: bool) -> None:
        self.blocks = blocks
        self._block_tokens = block_tokens
        self._prefix_caching = prefix_caching
        self._free = blocks
        #: How many sequences use each known block; those that none uses are in `_unused` too, oldest first.
        self._users: dict[int, int] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that a sequence can get, by forgetting unused ones if need be."""
        return self._free + len(self._unused)

    @property
    def used_ratio(self) -> float:
        """The figure behind `vllm:kv_cache_usage_perc`."""
        return 1.0 - self.available / self.blocks

    def known(self, hashes: Sequence[int]) -> int:
        """How many of a prompt's first blocks are present."""
        for position, block in enumerate(hashes):
            if block not in self._users:
                return position
        return len(hashes)

    def start(self, holding: Holding, hashes: Sequence[int], known: int, tokens: int, *, total: int) -> bool:
        """Hold room for a prompt's first `tokens`, `known` blocks of it reused; False changes nothing.

        It is False if the `total` would not fit, although only the first part of it is taken: prompts that
        begin and cannot go on would preempt each other (vLLM's `scheduler_reserve_full_isl`).
        """
        reused = hashes[:known]
        room = self.available - sum(block in self._unused for block in reused)
        if self._blocks_of(total) - known > room:
            return False
        for block in reused:
            self._use(block)
        holding.shared.extend(reused)
        holding.blocks = known
        self._take(holding, self._blocks_of(tokens) - known)
        return True

    def grow(self, holding: Holding, tokens: int) -> bool:
        """Hold room for `tokens` in all; False changes nothing."""
        needed = self._blocks_of(tokens) - holding.blocks
        if needed > self.available:
            return False
        self._take(holding, needed)
        return True

    def publish(self, holding: Holding, hashes: Sequence[int], tokens: int) -> None:
        """Let others reuse the full blocks among the prompt's first `tokens`."""
        if not self._prefix_caching:
            return
        for block in hashes[len(holding.shared) : tokens // self._block_tokens]:
            if block in self._users:
                self._use(block)
                self._free += 1  # computed twice at the same time: one of the two is enough
            else:
                self._users[block] = 1
            holding.shared.append(block)

    def free(self, holding: Holding) -> None:
        """Give everything back; known blocks stay until their room is needed."""
        self._free += holding.blocks - len(holding.shared)
        for block in reversed(holding.shared):
            self._users[block] -= 1
            if not self._users[block]:
                self._unused[block] = None
        holding.blocks = holding.tokens = 0
        holding.shared.clear()

    def _use(self, block: int) -> None:
        self._users[block] += 1
        self._unused.pop(block, None)

    def _take(self, holding: Holding, blocks: int) -> None:
        for _ in range(blocks - self._free):
            oldest, _ = self._unused.popitem(last=False)
            del self._users[oldest]
            self._free += 1
        self._free -= blocks
        holding.blocks += blocks
        holding.tokens = holding.blocks * self._block_tokens

    def _blocks_of(self, tokens: int) -> int:
        return -(-tokens // self._block_tokens)
