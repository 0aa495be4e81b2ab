"""A server is described, probed and asked; what cannot be measured is refused with a reason."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from rag_service.model_server.calibration.live.errors import CalibrationError
from rag_service.model_server.calibration.live.load import Ask, Level
from rag_service.model_server.calibration.live.measure import Measured, measure
from rag_service.model_server.calibration.live.server import Described, Server, parse_url


class Scripted:
    """A model server that a test tells how to behave."""

    def __init__(self) -> None:
        self.models: Any = {"data": [{"id": "tiny", "max_model_len": 4096}, {"id": "other"}]}
        self.metrics = 'vllm:cache_config_info{block_size="128",num_gpu_blocks="4096"} 1.0\n'
        self.version = {"version": "0.32.0"}
        self.streams = True
        self.pieces = True
        self.usage = True
        self.refuse: set[str] = set()
        self.fail_at: int | None = None
        self.asked: list[dict[str, Any]] = []
        self.running = self.most_running = 0

    async def on_models(self, _: web.Request) -> web.Response:
        return web.json_response(self.models)

    async def on_version(self, _: web.Request) -> web.Response:
        return web.json_response(self.version)

    async def on_metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.metrics)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if refused := self.refuse & set(body):
            return web.json_response({"error": {"message": f"unknown: {refused}"}}, status=400)
        if len(self.asked) == self.fail_at:
            return web.json_response({"error": {"message": "out of memory"}}, status=500)
        if not self.streams:
            return web.json_response({"choices": []})
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        events = [{"choices": [{"delta": {"content": "word "}}]}] * body["max_tokens"]
        if self.usage:
            words = len(body["messages"][0]["content"].split())
            usage = {"prompt_tokens": 10 + 2 * words, "completion_tokens": body["max_tokens"]}
            events.append({"choices": [], "usage": usage})
        lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
        for line in lines if self.pieces else [b"".join(lines)]:
            await response.write(line)
            await asyncio.sleep(0)
        self.running -= 1
        return response


@asynccontextmanager
async def serving(scripted: Scripted) -> AsyncIterator[Server]:
    app = web.Application()
    app.router.add_get("/v1/models", scripted.on_models)
    app.router.add_get("/version", scripted.on_version)
    app.router.add_get("/metrics", scripted.on_metrics)
    app.router.add_post("/v1/chat/completions", scripted.completions)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Server(f"http://127.0.0.1:{port}", time.perf_counter) as server:
            yield server
    finally:
        await runner.cleanup()


def on(scripted: Scripted, work: Callable[[Server], Any]) -> Any:
    async def run() -> Any:
        async with serving(scripted) as server:
            return await work(server)

    return asyncio.run(run())


def test_a_server_says_what_it_is() -> None:
    """Model, version and context length; the KV cache from vLLM's metrics."""
    assert on(Scripted(), lambda server: server.describe(None)) == Described(
        "tiny", "0.32.0", 4096, 4096, 128
    )
    assert on(Scripted(), lambda server: server.describe("other")).max_model_len is None


def test_a_server_need_not_say_more_than_its_models() -> None:
    """Others than vLLM have no such metrics, and no version."""
    scripted = Scripted()
    scripted.metrics, scripted.version = "not metrics{", {}
    described = on(scripted, lambda server: server.describe(None))
    assert described == Described("tiny", None, 4096, None, None)


def test_a_model_that_is_not_served_is_refused() -> None:
    """With those that are."""
    with pytest.raises(CalibrationError, match="'huge'; it has tiny, other"):
        on(Scripted(), lambda server: server.describe("huge"))
    scripted = Scripted()
    scripted.models = {"data": []}
    with pytest.raises(CalibrationError, match="none"):
        on(scripted, lambda server: server.describe(None))
    scripted.models = ["what"]
    with pytest.raises(CalibrationError, match="lists no models"):
        on(scripted, lambda server: server.describe(None))


def test_nobody_at_the_address_is_a_sentence() -> None:
    """Not a traceback."""

    async def ask() -> None:
        async with Server("http://127.0.0.1:9", time.perf_counter) as server:
            await server.describe(None)

    with pytest.raises(
        CalibrationError, match=r"no OpenAI-compatible server answers at http://127\.0\.0\.1:9"
    ):
        asyncio.run(ask())


def test_a_probe_learns_what_words_cost() -> None:
    """Here a word is two tokens and the template ten."""

    async def words(server: Server) -> int:
        await server.describe(None)
        await server.probe(1)
        return server.tokens.words(210)

    assert on(Scripted(), words) == 100


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": False}, "application/json; only streamed"),
        ({"pieces": False}, "in one piece: it does not stream"),
        ({"usage": False}, "no usage"),
        ({"refuse": {"stream"}}, "answered 400"),
        ({"fail_at": 1}, "answered 500: .*out of memory"),
    ],
)
def test_a_server_that_cannot_be_measured_is_refused(change: dict[str, Any], said: str) -> None:
    """Before the measurement begins."""
    scripted = Scripted()
    for name, value in change.items():
        setattr(scripted, name, value)
    with pytest.raises(CalibrationError, match=said):
        on(scripted, lambda server: server.probe(1))


def test_lengths_are_forced_where_the_server_lets_them() -> None:
    """vLLM's parameters first; without them where they are refused, from then on."""
    scripted = Scripted()

    async def forced(server: Server) -> bool:
        await server.probe(1)
        return server.lengths_are_forced

    assert on(scripted, forced) is True
    assert scripted.asked[0]["ignore_eos"] is True and scripted.asked[0]["min_tokens"] == 16
    scripted = Scripted()
    scripted.refuse = {"ignore_eos"}
    assert on(scripted, forced) is False
    assert ["ignore_eos" in body for body in scripted.asked] == [True, False, False]


def test_a_level_keeps_so_many_requests_under_way() -> None:
    """Never more, all of them answered, in their order."""
    scripted = Scripted()
    level = Level(3, tuple(Ask(2, 2 + number) for number in range(12)), 3, 6)
    told: list[int] = []

    def work(server: Server) -> Any:
        return measure(server, level, 1, lambda _, count: told.append(count))

    measured: Measured = on(scripted, work)
    assert scripted.most_running <= 3
    assert [sample.output_tokens for sample in measured.samples] == list(range(2, 14))
    assert len(measured.counted) == 6 and measured.counted == measured.samples[3:9]
    assert told[-1] == 12


def test_a_request_that_fails_ends_the_measurement() -> None:
    """With it, the load would not be what the report says."""
    scripted = Scripted()
    scripted.fail_at = 5
    level = Level(2, (Ask(2, 4),) * 12, 2, 8)
    with pytest.raises(CalibrationError, match="of 12 at 2 at a time failed: the server answered 500"):
        on(scripted, lambda server: measure(server, level, 1, lambda *_: None))


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
    ],
)
def test_addresses(url: str, means: str) -> None:
    """With and without /v1."""
    assert parse_url(url) == means


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://192.0.2.1:8000", "is not this machine.*tunnel"),
        ("http://model.example:8000", "is not this machine"),
        ("https://127.0.0.1:8000", "write http://"),
        ("127.0.0.1:8000", "write http://"),
        ("http://127.0.0.1:99999", "write http://"),
        ("http://127.0.0.1:8000/v2", "write http://"),
    ],
)
def test_other_addresses_are_refused(url: str, said: str) -> None:
    """Load goes to loopback only."""
    with pytest.raises(ValueError, match=said):
        parse_url(url)
