"""The vector DB's HTTP face."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rag_service.ingest import DIMENSION
from rag_service.vector_db.app import make_app
from rag_service.vector_db.collection import open_collection
from rag_service.vector_db.database import Database
from rag_service.vector_db.limits import (
    MAX_ID_BYTES,
    MAX_IDS,
    MAX_METADATA_BYTES,
    MAX_POINTS,
    MAX_SEARCH_BYTES,
    MAX_VECTORS,
    MAX_WRITE_BYTES,
)

CORPUS = "/v1/collections/corpus"
SEARCH = f"{CORPUS}/search"
UPSERT = f"{CORPUS}/upsert"
DELETE = f"{CORPUS}/delete"
VECTOR = [1.0] + [0.0] * (DIMENSION - 1)


@pytest.fixture
def client(index_dir: Path) -> Iterator[TestClient]:
    state_dir = index_dir.with_name("state")
    database = Database(
        open_collection(index_dir, state_dir=state_dir),
        index_dir=index_dir,
        reopen=lambda: open_collection(index_dir, state_dir=state_dir),
    )
    with TestClient(make_app(database)) as client:
        yield client
    database.close()


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


def _point(**more: Any) -> dict[str, Any]:
    return {"id": "x", "vector": VECTOR} | more


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "said"),
    [
        (UPSERT, {"points": []}, 422, "bad_points", "1 to 256"),
        (UPSERT, {"points": [_point()] * (MAX_POINTS + 1)}, 422, "bad_points", "257 points"),
        (UPSERT, {"points": ["x"]}, 422, "bad_points", "points[0]"),
        (UPSERT, {"points": [_point(), _point()]}, 422, "duplicate_id", "'x' twice"),
        (UPSERT, {"points": [_point(id="")]}, 422, "bad_id", "points[0].id"),
        (UPSERT, {"points": [_point(id=7)]}, 422, "bad_id", "is 7"),
        (UPSERT, {"points": [_point(id="é" * MAX_ID_BYTES)]}, 422, "bad_id", "1 to 512 bytes"),
        (UPSERT, {"points": [_point(vector=[1.0])]}, 422, "wrong_dimension", "points[0].vector"),
        (UPSERT, {"points": [_point(vector=None)]}, 422, "wrong_dimension", "None"),
        (UPSERT, {"points": [_point(vector=[0.0] * DIMENSION)]}, 422, "zero_vector", "points[0].vector"),
        (UPSERT, {"points": [_point(vector=[True] * DIMENSION)]}, 422, "not_finite", "points[0].vector"),
        (UPSERT, {"points": [_point(vector=[1e39] * DIMENSION)]}, 422, "not_finite", "points[0].vector"),
        (UPSERT, {"points": [_point(vector=[10**400] * DIMENSION)]}, 422, "not_finite", "points[0]"),
        (UPSERT, {"points": [_point(text="?")]}, 422, "unknown_field", "'text'"),
        (UPSERT, {"points": [_point(metadata=[])]}, 422, "bad_metadata", "points[0].metadata"),
        (
            UPSERT,
            {"points": [_point(metadata={"a": "x" * MAX_METADATA_BYTES})]},
            422,
            "metadata_too_large",
            "16384",
        ),
        (DELETE, {"ids": []}, 422, "bad_ids", "1 to 1024"),
        (DELETE, {"ids": ["a"] * (MAX_IDS + 1)}, 422, "bad_ids", "1025 ids"),
        (DELETE, {"ids": [None]}, 422, "bad_id", "ids[0]"),
        (DELETE, {"ids": ["a", "a"]}, 422, "duplicate_id", "'a' twice"),
        (DELETE, {"points": ["a"]}, 422, "unknown_field", "'points'"),
        (f"{CORPUS}/snapshot", {"path": "/etc"}, 422, "unknown_field", "no body"),
        (f"{CORPUS}/reload", [], 400, "not_an_object", "no body"),
        ("/v1/collections/other/upsert", {"points": [_point()]}, 404, "unknown_collection", "'corpus'"),
    ],
)
def test_bad_writes_are_refused_and_change_nothing(
    client: TestClient, path: str, body: Any, status: int, code: str, said: str
) -> None:
    """Each refusal names the field, and the version stays where it was."""
    response = client.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert said in error["message"]
    assert client.get("/healthz").json()["version"] == 0


def test_a_point_goes_in_is_found_is_shown_and_goes_out(client: TestClient) -> None:
    """Each write has the next version; a search says which version it saw."""
    point = _point(id="new/1", vector=[0.0] * (DIMENSION - 1) + [2.0], metadata={"title": "New", "n": [1]})
    assert client.post(UPSERT, json={"points": [point]}).json() == {"version": 1}
    query = {"vectors": [[0.0] * (DIMENSION - 1) + [1.0]], "k": 1}
    found = client.post(SEARCH, json=query).json()
    assert (found["version"], found["results"][0]) == (1, [{"id": "new/1", "score": 1.0}])
    shown = client.get(f"{CORPUS}/points/new/1").json()
    assert shown == {
        "id": "new/1",
        "vector": [0.0] * (DIMENSION - 1) + [1.0],
        "metadata": {"title": "New", "n": [1]},
    }
    assert client.post(DELETE, json={"ids": ["new/1", "never"]}).json() == {"version": 2, "deleted": 1}
    gone = client.get(f"{CORPUS}/points/new/1")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "unknown_point")
    assert client.get("/healthz").json()["documents"] == 3


def test_a_point_of_the_ingest_is_shown_with_its_title(client: TestClient) -> None:
    """Documents have metadata of their own: what the ingest called them."""
    shown = client.get(f"{CORPUS}/points/a").json()
    assert (shown["id"], shown["vector"], shown["metadata"]) == ("a", VECTOR, {"title": "a"})


def test_a_snapshot_names_its_version_and_file(client: TestClient) -> None:
    """What the answer names is on the disk."""
    client.post(DELETE, json={"ids": ["b"]})
    kept = client.post(f"{CORPUS}/snapshot").json()
    assert kept["version"] == 1
    assert Path(kept["path"]).is_file()


def test_reload_of_the_same_corpus_changes_nothing(client: TestClient) -> None:
    """Its writes are still there."""
    client.post(DELETE, json={"ids": ["b"]})
    stamp = client.get("/healthz").json()["stamp"]
    assert client.post(f"{CORPUS}/reload", json={}).json() == {"stamp": stamp, "version": 1}


def test_reload_takes_a_new_ingest_without_the_writes_to_the_old_one(
    client: TestClient, index_dir: Path, make_index: Callable[[Path, str], Path]
) -> None:
    """Another corpus starts at version 0, and coming back to the first brings its writes back."""
    client.post(DELETE, json={"ids": ["b"]})
    first = index_dir.rename(index_dir.with_name("first"))
    make_index(index_dir, "bc")
    reloaded = client.post(f"{CORPUS}/reload").json()
    health = client.get("/healthz").json()
    assert reloaded == {"stamp": health["stamp"], "version": 0}
    assert health["documents"] == 2
    index_dir.rename(index_dir.with_name("second"))
    first.rename(index_dir)
    assert client.post(f"{CORPUS}/reload").json()["version"] == 1
    assert client.get(f"{CORPUS}/points/b").status_code == 404


def test_reload_of_a_broken_index_leaves_the_old_one_served(client: TestClient, index_dir: Path) -> None:
    """The refusal says why, and searches go on."""
    manifest = index_dir / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"stamp": "', '"stamp": "0'))
    refused = client.post(f"{CORPUS}/reload")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "index_unusable")
    assert "do not fit the stamp" in refused.json()["error"]["message"]
    assert len(client.post(SEARCH, json={"vectors": [VECTOR]}).json()["results"][0]) == 3


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", SEARCH, b"{", 400),
        ("POST", SEARCH, b'{"vectors": [[NaN]]}', 422),
        ("POST", SEARCH, b" " * (MAX_SEARCH_BYTES + 1), 413),
        ("POST", "/v1/collections/other/search", b"{}", 404),
        ("POST", UPSERT, b" " * (MAX_WRITE_BYTES + 1), 413),
        ("POST", SEARCH, b"[" * 100_000, 400),
        ("POST", SEARCH, b'{"k": "\xff"}', 400),
        ("POST", SEARCH, b"\x00\x01", 400),
        ("GET", f"{CORPUS}/points/nobody", b"", 404),
        ("GET", f"{CORPUS}/points/", b"", 422),
        ("GET", SEARCH, b"", 405),
        ("GET", "/nope", b"", 404),
    ],
)
def test_every_error_is_json(client: TestClient, method: str, path: str, content: bytes, status: int) -> None:
    """No caller has to parse a page of HTML or plain text."""
    response = client.request(method, path, content=content)
    assert response.status_code == status
    assert response.json()["error"].keys() == {"code", "message"}
