"""What is asked before the first question: is it there, what is it, what does it serve."""

from __future__ import annotations

from tests.conformance.model_server.live import MAX_MODEL_LEN, Live


def test_it_says_that_it_is_well(server: Live) -> None:
    """200 and nothing else: what the stack waits for."""
    answer = server.client.get("/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_it_says_its_version(server: Live) -> None:
    """What stack.json names; the simulator's cannot be taken for vLLM's."""
    version = server.client.get("/version").json()["version"]
    assert ("simulator" in version) == (server.kind == "simulator")


def test_the_served_model_is_listed(server: Live) -> None:
    """OpenAI clients ask for the list first; how long a context may be stands there."""
    listed = server.client.get("/v1/models").json()
    assert listed["object"] == "list"
    (card,) = listed["data"]
    assert (card["id"], card["object"]) == (server.model, "model")
    assert card["max_model_len"] == MAX_MODEL_LEN
