"""The vector DB's HTTP face."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rag_service.ingest import DIMENSION
from rag_service.vector_db.app import MAX_BODY_BYTES, MAX_VECTORS, make_app
from rag_service.vector_db.collection import open_collection

SEARCH = "/v1/collections/corpus/search"
VECTOR = [1.0] + [0.0] * (DIMENSION - 1)


@pytest.fixture
def client(index_dir: Path) -> Iterator[TestClient]:
    with ThreadPoolExecutor(1) as executor:
        yield TestClient(make_app(open_collection(index_dir), executor))


def test_health_and_search_carry_the_same_stamp(client: TestClient) -> None:
    """A caller can tell that the answer comes from the index it expects."""
    health = client.get("/healthz").json()
    assert (health["status"], health["documents"], health["dimension"]) == ("ok", 3, DIMENSION)
    found = client.post(SEARCH, json={"vectors": [VECTOR], "k": 2}).json()
    assert found["stamp"] == health["stamp"]
    assert found["results"][0][0] == {"id": "a", "score": 1.0}
    assert len(found["results"][0]) == 2


@pytest.mark.parametrize(
    ("body", "status", "code", "allowed"),
    [
        ({"vectors": [VECTOR], "k": 0}, 422, "bad_k", "from 1 to 100"),
        ({"vectors": [VECTOR], "k": 101}, 422, "bad_k", "from 1 to 100"),
        ({"vectors": [VECTOR], "k": True}, 422, "bad_k", "from 1 to 100"),
        ({"vectors": []}, 422, "bad_vectors", "1 to 64"),
        ({"vectors": [VECTOR] * (MAX_VECTORS + 1)}, 422, "bad_vectors", "1 to 64"),
        ({}, 422, "bad_vectors", "1 to 64"),
        ({"vectors": [VECTOR[:-1]]}, 422, "wrong_dimension", "have 384"),
        ({"vectors": [["x"] * DIMENSION]}, 422, "not_finite", "vector 0"),
        ({"vectors": [VECTOR], "limit": 3}, 422, "unknown_field", '"k"'),
        ([], 400, "not_an_object", "vectors"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(
    client: TestClient, body: Any, status: int, code: str, allowed: str
) -> None:
    """Each refusal has a status, a code for programs and a sentence for people."""
    response = client.post(SEARCH, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert allowed in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", SEARCH, b"{", 400),
        ("POST", SEARCH, b'{"vectors": [[NaN]]}', 422),
        ("POST", SEARCH, b" " * (MAX_BODY_BYTES + 1), 413),
        ("POST", "/v1/collections/other/search", b"{}", 404),
        ("GET", SEARCH, b"", 405),
        ("GET", "/nope", b"", 404),
    ],
)
def test_every_error_is_json(client: TestClient, method: str, path: str, content: bytes, status: int) -> None:
    """No caller has to parse a page of HTML or plain text."""
    response = client.request(method, path, content=content)
    assert response.status_code == status
    assert response.json()["error"].keys() == {"code", "message"}
