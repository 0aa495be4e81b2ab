"""Shuffled results: the documents of a search in another order."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.faults.quantities import Key
from chaos.faults.request_fault import RequestFault


class ShuffledResults(RequestFault):
    """The documents come in another order, the scores stay where they were.

    An index whose ids and vectors no longer belong together. Look for answers from the wrong sources that
    nobody notices: no error, no delay, good scores.

        mixed-up-index: {on: vector_db, kind: shuffled_results}

    Looks like: a fast and valid answer with the wrong document on top.
    Bit when: the proxy counts at least three answers that it changed.
    Undone: it is removed; the next search is right.
    """

    kind: Literal["shuffled_results"] = "shuffled_results"
    on: Literal["vector_db"] = Field(description="the vector DB: vector_db")
    key: Key = Field("results", description="the member with the results; a dot goes one object down")
