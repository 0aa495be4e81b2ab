"""Stale results: an earlier answer again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chaos.faults.request_fault import RequestFault


class StaleResults(RequestFault):
    """The answer that the same method and path had `behind` answers ago; the first ones pass.

    A replica that lags behind, a cache that forgot the query. Look for answers to another question, which
    every health check takes for good.

        lagging-replica: {on: vector_db, kind: stale_results, behind: 3, path: "*/search"}

    Looks like: a fast and valid answer that belongs to an earlier question.
    Bit when: the proxy counts at least three answers that it replaced.
    Undone: it is removed; the next answer is the dependency's own.
    """

    kind: Literal["stale_results"] = "stale_results"
    on: Literal["vector_db"] = Field(description="the vector DB: vector_db")
    behind: Annotated[int, Field(ge=1, le=100, strict=True)] = Field(
        1, description="how many answers ago; 1 to 100"
    )
