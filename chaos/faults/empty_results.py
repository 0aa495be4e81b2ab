"""Empty results: a search that finds nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.faults.quantities import Key
from chaos.faults.request_fault import RequestFault


class EmptyResults(RequestFault):
    """HTTP 200 with every list of results empty.

    An index that was dropped, a filter gone wrong, a shard that is missing. Look for answers that are made up
    without a source, and for a cache that keeps them.

        lost-index: {on: vector_db, kind: empty_results}

    Looks like: a fast and valid answer without documents.
    Bit when: the proxy counts at least three answers that it emptied.
    Undone: it is removed; the next search finds what there is.
    """

    kind: Literal["empty_results"] = "empty_results"
    on: Literal["vector_db"] = Field(description="the vector DB: vector_db")
    key: Key = Field("results", description="the member with the results; a dot goes one object down")
