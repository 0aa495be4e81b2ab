"""What operators and the harness ask: health, readiness, breakers, metrics, the flush barrier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rag_service.api.drain import Drain
from rag_service.loopback import is_loopback
from rag_service.resilience.breaker import Breaker, State
from rag_service.segments.live_corpus import LiveCorpus
from rag_service.telemetry.metrics import CONTENT_TYPE, Metrics
from rag_service.telemetry.tracing import Telemetry


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether answers can be given yet, and if not, what is missing."""

    waiting_for: tuple[str, ...]
    failure: str | None
    live: LiveCorpus | None = None


@dataclass(frozen=True, slots=True)
class Operations:
    """Handlers of the routes that are not answers."""

    readiness: Callable[[], Readiness]
    breakers: Sequence[Breaker]
    drain: Drain
    metrics: Metrics
    telemetry: Telemetry

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """200 also while degraded (a service that still answers must keep its traffic), and says so."""
        now = self.readiness()
        degraded = [breaker.name for breaker in self.breakers if breaker.state is not State.CLOSED]
        body: dict[str, Any] = {
            "ready": not (now.waiting_for or self.drain.draining),
            "waiting_for": list(now.waiting_for),
            "degraded": degraded,
            "draining": self.drain.draining,
        }
        if now.live is not None:
            corpus = now.live.current
            body["corpus"] = {"stamp": corpus.stamp, "documents": len(corpus.documents)}
            if now.live.problem:
                body["corpus"]["problem"] = now.live.problem
                degraded.append("corpus")
        if now.failure:
            body["failure"] = now.failure
        return JSONResponse(body, 200 if body["ready"] else 503)

    async def list_breakers(self, _: Request) -> Response:
        states = [
            {"name": breaker.name, "state": breaker.state, "since_s": round(breaker.since_s, 3)}
            for breaker in self.breakers
        ]
        return JSONResponse({"breakers": states})

    async def prometheus(self, _: Request) -> Response:
        return Response(self.metrics.render(), headers={"content-type": CONTENT_TYPE})

    async def flush(self, request: Request) -> Response:
        """Export all that has ended. Loopback only: it makes work for the exporter."""
        host = request.client.host if request.client else ""
        if not is_loopback(host):
            error = {
                "code": "forbidden",
                "message": f"flush is for loopback callers only, this one is {host!r}",
            }
            return JSONResponse({"error": error}, 403)
        last_seq = self.telemetry.last_seq
        flushed = await asyncio.to_thread(self.telemetry.flush)
        spans = asdict(self.telemetry.span_counts())
        body = {"last_seq": last_seq, "flushed": flushed, "spans": spans}
        return JSONResponse(body, 200 if flushed else 504)
