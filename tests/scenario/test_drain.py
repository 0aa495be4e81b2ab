"""SIGTERM on the real process: nothing new, what is under way may finish, what is left is told so."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def model_server(start_model_server: Callable[..., Any]) -> Any:
    """About 20 tokens a second, so that an answer takes some seconds."""
    return start_model_server(first_token="50ms", token="50ms")


@contextmanager
def stream(service: Any) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The events of one streamed answer as they come."""
    client = httpx.Client(timeout=30.0, trust_env=False)
    body = {"question": "rename a file", "stream": True}
    with client, client.stream("POST", f"{service.url}/v1/answers", json=body) as response:
        assert response.status_code == 200

        def events() -> Iterator[tuple[str, dict[str, Any]]]:
            name = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield name, json.loads(line.removeprefix("data: "))

        yield events()


def running(model_server: Any) -> int:
    text = httpx.get(f"{model_server.url}/metrics", trust_env=False).text
    (value,) = re.findall(r"^vllm:num_requests_running\S* (\d+)", text, flags=re.MULTILINE)
    return int(value)


def wait_until(happens: Callable[[], bool], within_s: float) -> None:
    ends = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.01)


def test_a_stream_under_way_finishes_and_nothing_new_begins(model_server: Any, start_service: Any) -> None:
    """From SIGTERM on: not ready, 503 that closes its connection; the stream ends well; exit code 0."""
    service = start_service(model_server.port, drain_s="20", generate__max_tokens="60")
    with stream(service) as events, httpx.Client(base_url=service.url, trust_env=False) as kept:
        assert next(events)[0] == "meta"
        assert next(events)[0] == "token"
        assert kept.get("/readyz").status_code == 200
        service.terminate()
        wait_until(lambda: kept.get("/readyz").status_code == 503, within_s=1.0)
        assert kept.get("/readyz").json()["draining"] is True
        refused = kept.post("/v1/answers", json={"question": "rename a file"})
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "draining"
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["connection"] == "close"
        chat = {"model": "tiny", "messages": [{"role": "user", "content": "rename a file"}]}
        assert httpx.post(f"{service.url}/v1/chat/completions", json=chat).status_code == 503
        rest = [name for name, _ in events]
    assert rest[-1] == "done"
    assert set(rest[:-1]) == {"token"}
    assert service.exit_code(within_s=5.0) == 0


def test_a_stream_that_does_not_finish_ends_in_one_error_event(model_server: Any, start_service: Any) -> None:
    """After the drain time: one `error` (`draining`), and the model's slot is free; exit code 0."""
    service = start_service(model_server.port, drain_s="0.5", generate__max_tokens="256")
    with stream(service) as events:
        assert [next(events)[0], next(events)[0]] == ["meta", "token"]
        service.terminate()
        started = time.monotonic()
        rest: Events = list(events)
        took_s = time.monotonic() - started
    assert rest[-1][0] == "error"
    assert (rest[-1][1]["code"], rest[-1][1]["partial"]) == ("draining", True)
    assert [name for name, _ in rest if name in ("done", "error")] == ["error"]
    assert 0.4 < took_s < 5.0
    wait_until(lambda: running(model_server) == 0, within_s=1.0)
    assert service.exit_code(within_s=5.0) == 0


def test_an_idle_service_ends_at_once(model_server: Any, start_service: Any) -> None:
    """The drain time is for answers under way, and there are none."""
    service = start_service(model_server.port, drain_s="60")
    service.terminate()
    assert service.exit_code(within_s=5.0) == 0


def test_a_second_signal_ends_at_once(model_server: Any, start_service: Any) -> None:
    """Whoever asks twice means it, whatever is under way."""
    service = start_service(model_server.port, drain_s="60", generate__max_tokens="256")
    with stream(service) as events:
        assert next(events)[0] == "meta"
        service.terminate()
        wait_until(
            lambda: httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 503, within_s=1.0
        )
        service.terminate()
        assert service.exit_code(within_s=1.0) == 0
        with pytest.raises(httpx.TransportError):
            list(events)
