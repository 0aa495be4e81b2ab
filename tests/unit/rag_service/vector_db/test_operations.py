"""Writes as the log keeps them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag_service.vector_db.operations import Delete, Upsert, decode, encode

IDS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True)


@given(ids=IDS, seed=st.integers(0, 2**32 - 1), metadata=st.lists(st.binary(max_size=20), min_size=4))
def test_an_upsert_comes_back_bit_for_bit(ids: list[str], seed: int, metadata: list[bytes]) -> None:
    """Ids of any characters, metadata of any bytes, every bit of the vectors."""
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 3)).astype(np.float32)
    kept = decode(encode(Upsert(tuple(ids), vectors, tuple(metadata[: len(ids)]))), 3)
    assert isinstance(kept, Upsert)
    assert (kept.ids, kept.metadata) == (tuple(ids), tuple(metadata[: len(ids)]))
    assert np.array_equal(kept.vectors, vectors)


@given(ids=IDS)
def test_a_delete_comes_back(ids: list[str]) -> None:
    """Every id, in order."""
    assert decode(encode(Delete(tuple(ids))), 3) == Delete(tuple(ids))


@given(payload=st.binary(max_size=80))
def test_anything_else_is_refused_and_nothing_else_happens(payload: bytes) -> None:
    """Bytes that are no write raise ValueError and no other exception, whatever they are."""
    with suppress(ValueError):
        decode(payload, 3)
