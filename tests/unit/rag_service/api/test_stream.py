"""What a streamed answer holds, and that it lets go of it however it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rag_service.api.drain import Drain
from rag_service.errors import Overloaded


def token(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def ending(reason):
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def scope(headers=()):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/answers",
        "raw_path": b"/v1/answers",
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


class Reader:
    """A client at the level of ASGI, which may stop reading after so many messages."""

    def __init__(self, service: Any, *, takes: int | None = None, **fields: Any) -> None:
        self._service = service
        self._takes = takes
        self._body = json.dumps({"question": "rename a file", "stream": True} | fields).encode()
        self.headers: list[tuple[bytes, bytes]] = []
        self.messages: list[dict[str, Any]] = []
        self._ended = asyncio.Event()

    async def ask(self) -> float:
        """How long the service was busy with it."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        await self._service.app(scope(self.headers), self._receive, self._send)
        self._ended.set()
        return loop.time() - started

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if self._takes is not None and len(self.messages) >= self._takes:
            await asyncio.sleep(1e6)
        self.messages.append(message)

    def events(self) -> list[str]:
        text = b"".join(message.get("body", b"") for message in self.messages).decode()
        return [line.removeprefix("event: ") for line in text.split("\n") if line.startswith("event: ")]


def test_a_reader_that_stalls_is_let_go_at_the_deadline(run, make_service):
    """Its place and the model's slot are free again then, though it never said goodbye."""
    service = make_service(admission={"max_in_flight": 1})
    service.up.answer = [token(f"word{n} ") for n in range(50)] + [ending("stop")]

    async def stall():
        reader = Reader(service, takes=5)
        reader.headers = [(b"x-request-deadline-ms", b"2000")]
        took_s = await reader.ask()
        service.up.answer = [token("Hello"), ending("stop")]
        return took_s, reader, await service.ask(criticality="critical")

    took_s, reader, after = run(stall())
    assert 2.0 <= took_s < 2.5
    assert reader.events() == ["meta", "token", "token", "token"]
    assert service.up.streams[0].closed
    assert after.status_code == 200
    stalled, _ = service.finished("POST /v1/answers")
    assert stalled.attributes["error.type"] == "deadline_exceeded"
    assert stalled.attributes["rag.outcome"] == "error"


def test_draining_interrupts_what_is_late(run, make_service):
    """A stream ends in one `error` event, a JSON answer in 503; both free what they held."""
    service = make_service()
    service.up.answer = [token("Hello "), 2.5, token("late "), 2.5, ending("stop")]

    async def drained():
        reader = Reader(service)
        streaming = asyncio.ensure_future(reader.ask())
        whole = asyncio.ensure_future(service.ask())
        await asyncio.sleep(1.0)
        drain = service.app.state.drain
        assert drain.under_way == 2
        await drain.run(0.5)
        assert drain.under_way == 0
        return reader, await streaming, await whole

    reader, took_s, whole = run(drained())
    assert reader.events() == ["meta", "token", "error"]
    assert b'"code":"draining"' in reader.messages[-2]["body"]
    assert reader.messages[-1]["more_body"] is False
    assert took_s < 2.0
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "draining")
    assert whole.headers["connection"] == "close"
    assert all(stream.closed for stream in service.up.streams)


def test_draining_refuses_who_is_still_sending(run, make_service):
    """At once, though the body might have come in time: 503, and no trace of a fault."""
    service = make_service()
    sent = []

    async def receive():
        await asyncio.sleep(3.0)
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message):
        sent.append(message)

    async def drained():
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(service.app(scope(), receive, send))
        await asyncio.sleep(1.0)
        drain = service.app.state.drain
        assert drain.under_way == 1
        started = loop.time()
        await drain.run(20.0)
        await asking
        return loop.time() - started, drain.under_way

    took_s, left = run(drained())
    assert took_s < 0.1
    assert left == 0
    assert sent[0]["status"] == 503
    assert b'"draining"' in sent[1]["body"]
    assert (b"connection", b"close") in sent[0]["headers"]
    (span,) = service.finished("POST /v1/answers")
    assert (span.attributes["rag.outcome"], span.attributes["error.type"]) == ("refused", "draining")


def test_a_reader_that_stalls_at_the_last_event_has_no_whole_answer(run, make_service):
    """`done` was made but not taken: neither span nor metrics count the answer as given."""
    service = make_service()
    service.up.answer = [token("Hello"), ending("stop")]

    async def stall():
        reader = Reader(service, takes=3)  # the start, `meta`, one token
        reader.headers = [(b"x-request-deadline-ms", b"2000")]
        await reader.ask()
        return (await service.send("GET", "/metrics")).text

    metrics = run(stall())
    (span,) = service.finished("POST /v1/answers")
    assert span.attributes["rag.stream.completed"] is False
    assert span.attributes["rag.outcome"] == "error"
    assert span.attributes["error.type"] == "deadline_exceeded"
    assert 'rag_streams_total{ending="error"} 1.0' in metrics
    assert 'outcome="full"' not in metrics


def test_draining_lets_what_is_in_time_finish(run, make_service):
    """The negative control: with time enough the same stream ends in `done`."""
    service = make_service()
    service.up.answer = [token("Hello "), 2.5, token("late "), 2.5, ending("stop")]

    async def drained():
        reader = Reader(service)
        streaming = asyncio.ensure_future(reader.ask())
        await asyncio.sleep(1.0)
        await service.app.state.drain.run(20.0)
        await streaming
        return reader

    assert run(drained()).events() == ["meta", "token", "token", "done"]


def test_while_draining_it_says_so(run, make_service):
    """`/readyz` is 503 with the reason, and questions are refused before their body is read."""
    service = make_service()

    async def look():
        await service.app.state.drain.run(1.0)
        return await service.send("GET", "/readyz"), await service.ask()

    ready, refused = run(look())
    assert (ready.status_code, ready.json()["ready"], ready.json()["draining"]) == (503, False, True)
    assert refused.status_code == 503
    assert refused.json()["outcome"] == "refused"
    assert refused.headers["connection"] == "close"


def test_a_drain_that_is_empty_takes_no_time(run):
    """It waits for answers, not for its limit; afterwards nobody may enter."""

    async def empty():
        drain = Drain()
        loop = asyncio.get_running_loop()
        started = loop.time()
        await drain.run(60.0)
        with pytest.raises(Overloaded, match="takes no new questions"):
            drain.enter()
        return loop.time() - started

    assert run(empty()) == 0.0


def test_a_cancelled_stream_frees_what_it_held(run, make_service):
    """As when uvicorn gives up on a connection."""
    service = make_service()
    service.up.answer = [token("Hello "), 2.5, ending("stop")]

    async def cancelled():
        streaming = asyncio.ensure_future(Reader(service).ask())
        await asyncio.sleep(1.0)
        streaming.cancel()
        await asyncio.wait((streaming,))
        return (await service.send("GET", "/metrics")).text

    assert "rag_in_flight 0.0" in run(cancelled())
    assert service.up.streams[0].closed
    assert service.app.state.drain.under_way == 0
