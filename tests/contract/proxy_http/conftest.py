"""The built-in proxy as a process, with upstreams that are real servers: uvicorn, aiohttp, the simulator."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from aiohttp import web

from chaos.clock import SystemClock
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.ports import reserve_port

ROOT = Path(__file__).parents[3]


@dataclass
class Faulty:
    """A running fault proxy, and the proxies that a test makes on it."""

    api: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API; its answer's JSON, if any."""
        answer = self.api.request(method, path, content=None if body is None else json.dumps(body))
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def proxy(self, upstream: str, name: str = "p", **more: Any) -> str:
        """A proxy that reads requests; its base URL."""
        asked = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream.removeprefix("http://")}
        made = self.ask("POST", "/proxies", {**asked, "http": True, **more})
        return f"http://{made['listen']}"

    def fault(self, type_: str, proxy: str = "p", **attributes: Any) -> str:
        """A fault on requests; `path`, `method`, `probability` and `count` are the fault's own. Its name."""
        own = ("path", "method", "probability", "count", "name", "lease")
        body = {"type": type_, **{key: attributes.pop(key) for key in own if key in attributes}}
        added = self.ask("POST", f"/proxies/{proxy}/http_faults", {**body, "attributes": attributes})
        return str(added["name"])

    def unfault(self, name: str, proxy: str = "p") -> None:
        self.ask("DELETE", f"/proxies/{proxy}/http_faults/{name}")

    def records(self, after: int = 0) -> list[dict[str, Any]]:
        return list(self.ask("GET", f"/evidence?after={after}")["records"])

    def seen(self) -> int:
        """The number of the last record."""
        after = 0
        while records := self.records(after):
            after = int(records[-1]["seq"])
        return after


def started(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A process, and the address that it says it listens on."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line
    return process, found[0]


@pytest.fixture(scope="session")
def running() -> Iterator[Faulty]:
    process, _ = started([sys.executable, "-m", "chaos.proxy", "--port", str(port := reserve_port())])
    try:
        Toxiproxy(f"http://127.0.0.1:{port}").wait_ready(20, SystemClock())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api:
            yield Faulty(api)
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def faulty(running: Faulty) -> Iterator[Faulty]:
    """The server, with the test's proxies taken away afterwards."""
    yield running
    for name in running.ask("GET", "/proxies"):
        running.ask("DELETE", f"/proxies/{name}")


async def echo(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """ASGI: what was sent comes back, in pieces as long as `x-piece` says, chunked or with its length."""
    assert scope["type"] == "http"
    asked = dict(scope["headers"])
    pieces = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(pieces)
    headers = [(b"x-method", scope["method"].encode()), (b"x-query", scope["query_string"])]
    headers.append((b"X-Len", str(len(body)).encode()))
    if b"x-chunked" not in asked:
        headers.append((b"content-length", str(len(body)).encode()))
    await send(
        {"type": "http.response.start", "status": int(asked.get(b"x-status", b"200")), "headers": headers}
    )
    piece = int(asked.get(b"x-piece", b"65536"))
    for at in range(0, len(body), piece):
        await send({"type": "http.response.body", "body": body[at : at + piece], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def aiohttp_echo(request: web.Request) -> web.StreamResponse:
    """The same for aiohttp."""
    body = await request.read()
    headers = {
        "x-method": request.method,
        "x-query": request.rel_url.raw_query_string,
        "X-Len": str(len(body)),
    }
    answer = web.StreamResponse(status=int(request.headers.get("x-status", "200")), headers=headers)
    if "x-chunked" not in request.headers:
        answer.content_length = len(body)
    elif request.method != "HEAD" and answer.status not in (204, 304):
        answer.enable_chunked_encoding()
    await answer.prepare(request)
    piece = int(request.headers.get("x-piece", "65536"))
    if request.method != "HEAD" and answer.status not in (204, 304):
        for at in range(0, len(body), piece):
            await answer.write(body[at : at + piece])
    await answer.write_eof()
    return answer


def search_answer(number: int) -> bytes:
    """A search's answer as the vector DB gives it, another for each number."""
    hits = [{"id": f"doc-{number}-{place}", "score": round(0.9 - place / 10, 1)} for place in range(5)]
    return json.dumps({"stamp": "s", "version": number, "results": [hits]}).encode()


class Searches:
    """An ASGI vector DB that counts its searches and keeps the last request."""

    def __init__(self) -> None:
        self.count = 0
        self.asked: dict[str, Any] = {}

    async def __call__(self, _: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.count += 1
        self.asked = json.loads(body or b"{}")
        answer = search_answer(self.count)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def in_thread(app: Any) -> tuple[str, Callable[[], None]]:
    """An ASGI app on uvicorn in a thread: its URL, and how to stop it."""
    port = reserve_port()
    config = uvicorn.Config(app, port=port, log_level="critical", lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)

    def stop() -> None:
        server.should_exit = True
        thread.join(10)

    return f"http://127.0.0.1:{port}", stop


@pytest.fixture(scope="session")
def uvicorn_echo() -> Iterator[str]:
    url, stop = in_thread(echo)
    yield url
    stop()


@pytest.fixture
def searches() -> Iterator[tuple[Searches, str]]:
    app = Searches()
    url, stop = in_thread(app)
    yield app, url
    stop()


@pytest.fixture(scope="session")
def aiohttp_url() -> Iterator[str]:
    loop = asyncio.new_event_loop()
    port = reserve_port()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{rest:.*}", aiohttp_echo)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """The model server's simulator: 20 ms to the first token, 5 ms a token."""
    pace = ["--first-token", "20ms", "--token", "5ms", "--seed", "1"]
    process, url = started([sys.executable, "-m", "rag_service.model_server", "--port", "0", *pace])
    try:
        yield url
    finally:
        process.terminate()
        process.wait(10)
