"""Blocks are neither lost nor given twice, and what is known of a prompt is kept as long as there is room."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag_service.model_server.kv_cache import Holding, KvCache, block_hashes

BLOCKS = 8
BLOCK_TOKENS = 4
PROMPTS = ["aaaabbbbccccdddd", "aaaabbbbxxxx", "zzzz", "aaaabbbbccccddddeeeeffff"]


class KvCacheMachine(RuleBasedStateMachine):
    """Starts, grows and frees holdings of prompts that begin alike."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = KvCache(BLOCKS, BLOCK_TOKENS, prefix_caching=True)
        self.held: list[tuple[Holding, tuple[int, ...], int]] = []

    @rule(prompt=st.sampled_from(PROMPTS), share=st.integers(1, 24), total=st.integers(1, 40))
    def start(self, prompt: str, share: int, total: int) -> None:
        hashes = block_hashes(prompt, BLOCK_TOKENS)
        known = self.cache.known(hashes[: (len(prompt) - 1) // BLOCK_TOKENS])
        tokens = max(min(share, len(prompt)), known * BLOCK_TOKENS + 1)
        holding, before = Holding(), self.cache.available
        if self.cache.start(holding, hashes, known, tokens, total=max(tokens, total)):
            self.cache.publish(holding, hashes, tokens)
            self.held.append((holding, hashes, tokens))
        else:
            assert (self.cache.available, holding.blocks, holding.shared) == (before, 0, [])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), more=st.integers(1, 9))
    def grow(self, data: st.DataObject, more: int) -> None:
        position = data.draw(st.integers(0, len(self.held) - 1))
        holding, hashes, tokens = self.held[position]
        before = self.cache.available
        if self.cache.grow(holding, tokens + more):
            self.cache.publish(holding, hashes, tokens + more)
            self.held[position] = (holding, hashes, tokens + more)
        else:
            assert self.cache.available == before < -(-(tokens + more) // BLOCK_TOKENS) - holding.blocks

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        holding, _, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.cache.free(holding)

    @invariant()
    def every_block_is_held_or_available(self) -> None:
        """A shared block counts once, whoever shares it."""
        private = sum(holding.blocks - len(holding.shared) for holding, _, _ in self.held)
        shared = {block for holding, _, _ in self.held for block in holding.shared}
        assert self.cache.available == BLOCKS - private - len(shared)
        assert 0 <= self.cache.available <= BLOCKS

    @invariant()
    def every_holding_has_room_for_its_tokens(self) -> None:
        for holding, hashes, tokens in self.held:
            assert holding.blocks * BLOCK_TOKENS == holding.tokens >= tokens
            assert holding.shared == list(hashes[: min(tokens // BLOCK_TOKENS, len(hashes))])


TestKvCache = KvCacheMachine.TestCase


def _filled(cache: KvCache, prompt: str) -> Holding:
    hashes, holding = block_hashes(prompt, BLOCK_TOKENS), Holding()
    known = cache.known(hashes)
    assert cache.start(holding, hashes, known, len(prompt), total=len(prompt))
    cache.publish(holding, hashes, len(prompt))
    return holding


def _known(cache: KvCache, prompt: str) -> int:
    return cache.known(block_hashes(prompt, BLOCK_TOKENS))


def test_a_hash_covers_all_that_came_before() -> None:
    """The same four tokens after other ones are another block; what fills no block has no hash."""
    one, other = block_hashes("aaaabbbb", 4), block_hashes("xxxxbbbb", 4)
    assert len(one) == len(other) == 2 and one[1] != other[1]
    assert block_hashes("aaaabbb", 4) == one[:1]


def test_what_was_unused_for_longest_is_forgotten_first_and_tails_before_heads() -> None:
    """Eight blocks: two prompts of three stay known; a third of four costs the older one its tail."""
    cache = KvCache(BLOCKS, BLOCK_TOKENS, prefix_caching=True)
    for prompt in ("aaaabbbbcccc", "ddddeeeeffff"):
        cache.free(_filled(cache, prompt))
    assert (_known(cache, "aaaabbbbcccc"), _known(cache, "ddddeeeeffff")) == (3, 3)
    assert cache.available == BLOCKS
    _filled(cache, "gggghhhhiiiijjjj")
    assert (_known(cache, "aaaabbbbcccc"), _known(cache, "ddddeeeeffff")) == (1, 3)


def test_what_is_used_is_not_forgotten() -> None:
    """A block that one sequence still shares survives the need of another."""
    cache = KvCache(BLOCKS, BLOCK_TOKENS, prefix_caching=True)
    first, second = _filled(cache, "aaaabbbb"), _filled(cache, "aaaabbbb")
    assert cache.available == BLOCKS - 2
    cache.free(first)
    assert cache.available == BLOCKS - 2
    assert not cache.grow(Holding(), 7 * BLOCK_TOKENS)
    cache.free(second)
    assert cache.grow(Holding(), BLOCKS * BLOCK_TOKENS)
    assert _known(cache, "aaaabbbb") == 0


def test_a_part_is_not_begun_where_the_whole_has_no_room() -> None:
    """Also where known blocks that nobody uses would have to be both reused and forgotten."""
    cache, hashes = KvCache(BLOCKS, BLOCK_TOKENS, prefix_caching=True), block_hashes("aaaa", BLOCK_TOKENS)
    cache.free(_filled(cache, "aaaa"))
    assert cache.grow(Holding(), 2 * BLOCK_TOKENS)
    assert not cache.start(Holding(), hashes, 1, 5, total=7 * BLOCK_TOKENS)
    assert cache.available == 6
    assert cache.start(Holding(), hashes, 1, 5, total=6 * BLOCK_TOKENS)
    assert cache.available == 4, "only the part is taken"


def test_without_prefix_caching_nothing_is_known() -> None:
    """And what is freed is free."""
    cache = KvCache(BLOCKS, BLOCK_TOKENS, prefix_caching=False)
    cache.free(_filled(cache, "aaaabbbb"))
    assert _known(cache, "aaaabbbb") == 0
    assert cache.used_ratio == 0.0
