"""The vector leg: one search in the FAISS service, over HTTP, through the fault proxy.

One `search` span per attempt, so that a trace shows what was really sent. Results of another index than
ours (another stamp) are refused: their ids would name other documents.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
import numpy as np
import numpy.typing as npt
from opentelemetry.trace import SpanKind, Tracer
from pydantic import BaseModel, ValidationError

from rag_service.errors import BadResponse, BadStatus, DependencyTimeout
from rag_service.resilience.deadline import current_deadline
from rag_service.resilience.policy import Attempt, Guard
from rag_service.resilience.pushback import status_error
from rag_service.segments.documents import COLLECTION, Scored
from rag_service.segments.http import Endpoint, translate
from rag_service.telemetry import names
from rag_service.telemetry.tracing import segment

NAME = "vector_db"
_WRONG_DIMENSION = "wrong_dimension"


class _Hit(BaseModel):
    id: str
    score: float


class _Found(BaseModel):
    stamp: str
    results: list[list[_Hit]]


@dataclass(frozen=True, slots=True)
class _Query:
    vector: npt.NDArray[np.float32]
    k: int
    stamp: str


class VectorSearch:
    """Client of the vector DB."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: Endpoint,
        guard: Guard,
        *,
        attempt_s: float,
        reserve_s: float,
        tracer: Tracer,
    ) -> None:
        self._client = client
        self._guard = guard
        self._attempt_s = attempt_s
        self._reserve_s = reserve_s
        self._tracer = tracer
        self._attributes = endpoint.attributes() | {
            names.DB_SYSTEM: "faiss",
            names.DB_COLLECTION: COLLECTION,
            names.DB_OPERATION: "search",
        }

    async def search(self, vector: npt.NDArray[np.float32], k: int, stamp: str) -> tuple[Scored, ...]:
        """The `k` nearest documents of the index with that stamp, best first. Raises RagError."""
        query = _Query(vector, k, stamp)

        async def attempt(attempt: Attempt) -> tuple[Scored, ...]:
            return await self._attempt(query, attempt)

        return await self._guard.run(attempt, current_deadline())

    async def _attempt(self, query: _Query, attempt: Attempt) -> tuple[Scored, ...]:
        attributes = self._attributes | {names.ATTEMPT: attempt.number}
        if attempt.hedge:
            attributes |= {names.HEDGE: True}
        with segment(self._tracer, f"search {COLLECTION}", attributes, SpanKind.CLIENT) as span:
            deadline = current_deadline()
            reserve_s = deadline.share(self._reserve_s)
            limit = deadline.limit(self._attempt_s, doing="the vector search", reserve_s=reserve_s)
            body = {"vectors": [np.round(query.vector.astype(np.float64), 6).tolist()], "k": query.k}
            try:
                async with asyncio.timeout(limit.limit_s):
                    response = await self._client.post(f"/v1/collections/{COLLECTION}/search", json=body)
            except TimeoutError:
                raise DependencyTimeout(NAME, limit.limit_s, by_deadline=limit.by_deadline) from None
            except httpx.HTTPError as error:
                raise translate(NAME, error) from error
            if response.status_code != 200:
                span.set_attribute(names.DB_STATUS, str(response.status_code))
                if response.status_code == 422 and _WRONG_DIMENSION in response.text:
                    # our vectors are not the index's: no failure of the DB, and no trying again will help
                    raise BadStatus(NAME, 422, response.text, reason=_WRONG_DIMENSION)
                raise status_error(
                    NAME,
                    response.status_code,
                    retry_after=response.headers.get("retry-after"),
                    body=response.text,
                )
            return self._read(response.content, query.stamp)

    def _read(self, body: bytes, stamp: str) -> tuple[Scored, ...]:
        try:
            found = _Found.model_validate_json(body)
        except ValidationError as error:
            raise BadResponse(NAME, f"not a search result: {error.errors()[0]['msg']}") from error
        if len(found.results) != 1:
            raise BadResponse(NAME, f"{len(found.results)} results for 1 vector")
        if found.stamp != stamp:
            detail = f"the index has stamp {found.stamp:.12}, the service loaded {stamp:.12}"
            raise BadResponse(NAME, detail, reason="stamp_mismatch")
        return tuple(Scored(hit.id, hit.score) for hit in found.results[0])
