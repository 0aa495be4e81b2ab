"""The bulkhead: bounded, rejecting, never leaking."""

from __future__ import annotations

import pytest

from rag_service.errors import BulkheadFull
from rag_service.resilience.bulkhead import Bulkhead


def test_rejects_beyond_its_places():
    """The third caller of two places is refused at once, by name."""
    bulkhead = Bulkhead("llm", 2)
    bulkhead.enter()
    bulkhead.enter()
    with pytest.raises(BulkheadFull, match="llm: all 2 places"):
        bulkhead.enter()


def test_a_place_left_twice_is_freed_once():
    """Leaving again must not make room that is not there."""
    bulkhead = Bulkhead("llm", 2)
    first = bulkhead.enter()
    bulkhead.enter()
    first.leave()
    first.leave()
    assert bulkhead.taken == 1
