"""Wrong dimension: query vectors shorter than the collection's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.faults.quantities import Key
from chaos.faults.request_fault import RequestFault


class WrongDimension(RequestFault):
    """Each query vector loses its second half on its way.

    Service and index were made with different embedding models. The vector DB refuses such a query; look for
    what the service makes of that: retries of what cannot succeed, or an answer without sources.

        other-embedder: {on: vector_db, kind: wrong_dimension}

    Looks like: what the dependency says to a vector of the wrong length (here HTTP 422).
    Bit when: the proxy counts at least three requests that it changed.
    Undone: it is removed; the next query arrives whole.
    """

    kind: Literal["wrong_dimension"] = "wrong_dimension"
    on: Literal["vector_db"] = Field(description="the vector DB: vector_db")
    key: Key = Field("vectors", description="the member of the request with the vectors")
