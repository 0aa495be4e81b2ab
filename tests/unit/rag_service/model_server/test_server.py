"""The application as a whole in virtual time: answers, refusals, hang-ups, slow readers, faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as changed
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest

from rag_service.model_server import presets
from rag_service.model_server.admin import Gate
from rag_service.model_server.completions import MAX_BODY_BYTES
from rag_service.model_server.engine import Engine
from rag_service.model_server.fault_set import FaultSet, parse_faults
from rag_service.model_server.server import make_app

Run = Callable[..., Any]
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
PROMPT = (
    "Context:\n[1] json.dumps(obj)\nSerialize obj to a JSON formatted str.\n\n"
    "[2] os.walk(top)\nDirectory tree generator.\n\nQuestion: How do I serialize to JSON?"
)
ANSWER = "Serialize obj to a JSON formatted str. [1]"


def _body(path: str = CHAT, **fields: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": PROMPT}]} if path == CHAT else {"prompt": PROMPT}
    return {"model": "m", "max_tokens": 100} | asked | fields


@dataclass
class Client:
    """One ASGI request, by hand: it may hang up, or stop reading."""

    body: bytes
    path: str = CHAT
    status: int = 0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    whole: bool = False
    _sent: bool = False

    async def receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.pieces.append((asyncio.get_running_loop().time(), message.get("body", b"")))
        self.whole = not message.get("more_body", False)

    @property
    def events(self) -> list[str]:
        data = b"".join(piece for _, piece in self.pieces).decode()
        return [line.removeprefix("data: ") for line in data.split("\n\n") if line]

    @property
    def said(self) -> str:
        chunks = [json.loads(event) for event in self.events if event.startswith("{")]
        return "".join(choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"])


class Server:
    """The application over the default preset: 80 ms to the first token, 8 ms a token, ±10 %."""

    def __init__(self, **limits: Any) -> None:
        preset = presets.load(presets.DEFAULT)
        self.engine = Engine(changed(preset, limits=changed(preset.limits, **limits)), Random(1))
        self.faults = FaultSet(Random(2))
        self.app = make_app(self.engine, "m", lambda: 5.0, lambda: UUID(int=7), self.faults, Gate())

    def put(self, **fault: Any) -> None:
        self.faults.replace(parse_faults({"faults": [fault]}))

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 9))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **more)

    def start(self, client: Client) -> asyncio.Task[None]:
        scope = {
            "type": "http",
            "method": "POST",
            "path": client.path,
            "headers": [(b"content-type", b"application/json")],
            "query_string": b"",
            "client": ("127.0.0.1", 9),
        }
        return asyncio.create_task(self.app(scope, client.receive, client.send))

    async def stream(self, path: str = CHAT, **fields: Any) -> Client:
        """A streamed answer, read to its end."""
        client = Client(json.dumps(_body(path, stream=True, **fields)).encode(), path)
        client.reading.set()
        await self.start(client)
        return client


def test_a_stream_sends_each_token_when_it_is_due(run: Run) -> None:
    """80 ms to the first, 8 ms to each further one, the end with the last."""
    client = run(Server().stream())
    assert (client.said, client.events[-1], client.whole) == (ANSWER, "[DONE]", True)
    times = [at for at, _ in client.pieces]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    tokens = len(client.events) - 2
    assert len(times) == tokens + 1
    assert all(0.0072 <= gap <= 0.0088 for gap in gaps[: tokens - 1])
    assert gaps[-1] == 0


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_an_answer_in_one_piece_has_its_usage(run: Run, path: str) -> None:
    """And takes as long as its stream would."""
    answer = run(Server().call("POST", path, json=_body(path))).json()
    choice = answer["choices"][0]
    assert (choice["message"]["content"] if path == CHAT else choice["text"]) == ANSWER
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert answer["id"] == {CHAT: "chatcmpl-", TEXT: "cmpl-"}[path] + "00000000000000000000000000000007"


def test_lengths_can_be_forced(run: Run) -> None:
    """The contract of load tools: `ignore_eos` and `max_tokens`."""
    answer = run(Server().call("POST", CHAT, json=_body(ignore_eos=True, max_tokens=77))).json()
    assert answer["usage"]["completion_tokens"] == 77
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "param"),
    [
        ("POST", CHAT, _body() | {"model": "gpt"}, 404, "NotFoundError", "model"),
        ("POST", TEXT, _body(TEXT) | {"model": "gpt"}, 404, "NotFoundError", "model"),
        ("POST", CHAT, {"model": "m"}, 400, "Bad Request", "body.messages"),
        ("POST", CHAT, _body(max_tokens=0), 400, "BadRequestError", "max_tokens"),
        ("POST", CHAT, _body(max_tokens=10**6), 400, "BadRequestError", "max_tokens"),
        ("POST", TEXT, _body(TEXT, prompt="a " * 300), 400, "BadRequestError", "input_tokens"),
        ("POST", TEXT, _body(TEXT, n=2), 400, "BadRequestError", "n"),
    ],
)
def test_what_is_refused_has_its_status_and_names_its_field(
    run: Run, method: str, path: str, body: Any, status: int, kind: str, param: str | None
) -> None:
    """One shape for all of them; nothing was generated."""
    server = Server(max_model_len=256, max_num_batched_tokens=256)
    answer = run(server.call(method, path, json=body))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"], error["code"]) == (status, kind, param, status)
    assert server.engine.generation_tokens == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *[("GET", "/v1/nothing", 404), ("GET", CHAT, 405), ("OPTIONS", CHAT, 405), ("POST", "/health", 405)],
        *[("HEAD", "/health", 405), ("HEAD", "/v1/models", 405), ("PUT", "/admin/faults", 405)],
    ],
)
def test_unknown_paths_and_methods_are_refused_below_the_api(
    run: Run, method: str, path: str, status: int
) -> None:
    """In the shape of vLLM's framework, and naming the methods that there are."""
    answer = run(Server().call(method, path))
    assert answer.status_code == status
    if method != "HEAD":
        assert answer.json() == {"detail": {404: "Not Found", 405: "Method Not Allowed"}[status]}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonl"]
)
def test_a_body_that_does_not_call_itself_json_is_refused(run: Run, kind: str | None) -> None:
    """As vLLM does: a client that forgets the header must not work here only."""
    body = json.dumps(_body()).encode()
    answer = run(
        Server().call("POST", CHAT, content=body, headers={} if kind is None else {"content-type": kind})
    )
    assert answer.status_code == 400
    assert "Only 'application/json' is allowed" in answer.json()["error"]["message"]
    called = {"content-type": "Application/JSON; charset=utf-8"}
    assert run(Server().call("POST", CHAT, content=body, headers=called)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "headers", "name"),
    [
        ({"request_id": "mine"}, {}, "chatcmpl-mine"),
        ({}, {"x-request-id": 'a "b'}, 'chatcmpl-a "b'),
        ({"request_id": "mine"}, {"x-request-id": "theirs"}, "chatcmpl-theirs"),
    ],
)
def test_a_request_may_bring_its_name(run: Run, fields: Any, headers: Any, name: str) -> None:
    """To be found again; whatever it is, the events stay JSON."""
    answer = run(Server().call("POST", CHAT, json=_body(**fields), headers=headers))
    assert answer.json()["id"] == name
    stream = run(Server().call("POST", CHAT, json=_body(stream=True, **fields), headers=headers))
    events = [event.removeprefix("data: ") for event in stream.text.split("\n\n")[:-2]]
    assert {json.loads(event)["id"] for event in events} == {name}


def test_a_full_house_refuses_before_it_reads(run: Run) -> None:
    """Whether a request could be answered is asked after whether there is room, as in vLLM."""

    async def ask_in_a_full_house() -> httpx.Response:
        server = Server(max_num_seqs=1, max_waiting=0, max_model_len=256, max_num_batched_tokens=256)
        held = asyncio.create_task(server.call("POST", CHAT, json=_body()))
        await asyncio.sleep(0.05)
        full = await server.call("POST", CHAT, json=_body(max_tokens=10**6))
        await held
        return full

    assert run(ask_in_a_full_house()).status_code == 503


def test_a_body_beyond_the_bound_is_refused(run: Run) -> None:
    """Before it is read to its end."""
    headers = {"content-type": "application/json"}
    answer = run(Server().call("POST", CHAT, content=b" " * (MAX_BODY_BYTES + 1), headers=headers))
    assert answer.status_code == 413


def test_who_finds_no_place_to_wait_is_refused(run: Run) -> None:
    """503, as vLLM's own bound on its queue; those before it are answered."""

    async def three_at_once() -> list[httpx.Response]:
        server = Server(max_num_seqs=1, max_waiting=1)
        return list(await asyncio.gather(*(server.call("POST", CHAT, json=_body()) for _ in range(3))))

    answers = run(three_at_once())
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert answers[2].json()["error"]["type"] == "Service Unavailable"


def test_small_questions_are_answered(run: Run) -> None:
    """Health, version, the model with its context length, metrics."""
    server = Server()
    health = run(server.call("GET", "/health"))
    assert (health.status_code, health.content) == (200, b"")
    assert run(server.call("GET", "/version")).json()["version"].endswith("+simulator")
    (card,) = run(server.call("GET", "/v1/models")).json()["data"]
    assert (card["id"], card["max_model_len"]) == ("m", server.engine.limits.max_model_len)
    metrics = run(server.call("GET", "/metrics"))
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'vllm:num_requests_running{engine="0",model_name="m"} 0.0' in metrics.text


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_place_at_once(run: Run, after_s: float, stream: bool) -> None:
    """While it waits for its first token as well as in mid-answer; the next in line gets the place."""

    async def hang_up() -> None:
        server = Server(max_num_seqs=1)
        clients = [Client(json.dumps(_body(stream=stream)).encode()) for _ in range(2)]
        for client in clients:
            client.reading.set()
        tasks = [server.start(client) for client in clients]
        await asyncio.sleep(after_s)
        clients[0].gone.set()
        await asyncio.sleep(0.01)
        assert tasks[0].done()
        assert (server.engine.load.running, server.engine.load.waiting) == (1, 0)
        await tasks[1]
        assert server.engine.finished == {"abort": 1, "stop": 1, "length": 0}
        assert clients[1].whole

    run(hang_up())


def test_a_reader_that_falls_behind_costs_no_place_and_gets_everything_in_bites(run: Run) -> None:
    """The model does not wait for it: 1,000 tokens are generated while nobody reads."""

    async def read_late() -> Client:
        server = Server()
        client = Client(json.dumps(_body(stream=True, ignore_eos=True, max_tokens=1000)).encode())
        task = server.start(client)
        await asyncio.sleep(20.0)
        assert (server.engine.load.running, client.pieces) == (0, [])
        client.reading.set()
        await task
        return client

    client = run(read_late())
    assert len(client.events) == 1 + 1000 + 1
    assert max(len(piece) for _, piece in client.pieces) < 20_000
    assert max(piece.count(b"data: ") for _, piece in client.pieces) <= 65


def test_a_slow_token_delays_its_own_answer_and_no_other(run: Run) -> None:
    """Every gap has its delay, none is caught up with; an answer without the fault keeps its pace."""

    async def two() -> tuple[Client, Client]:
        server = Server()
        server.put(kind="slow_tokens", delay_s=0.5, count=1)
        slow, plain = await asyncio.gather(server.stream(), server.stream())
        return slow, plain

    slow, plain = run(two())
    assert slow.said == plain.said == ANSWER
    times = [at for at, _ in slow.pieces]
    assert all(later - earlier > 0.5 for earlier, later in pairwise(times[:-1]))
    assert plain.pieces[-1][0] - plain.pieces[0][0] < 0.2


def test_a_late_first_token_shifts_what_follows(run: Run) -> None:
    """Only the first one is late."""
    server = Server()
    server.put(kind="slow_first_token", delay_s=3)
    client = run(server.stream())
    assert client.pieces[-1][0] - client.pieces[0][0] < 0.2
    assert 3.0 < client.pieces[0][0] - 1000.0 < 3.2


def test_a_stalled_answer_holds_its_place_until_its_client_leaves(run: Run) -> None:
    """Pings keep coming; taking the fault out does not heal what has stalled."""

    async def stall() -> None:
        server = Server()
        server.put(kind="stall", after_tokens=2, ping_s=1)
        client = Client(json.dumps(_body(stream=True)).encode())
        client.reading.set()
        task = server.start(client)
        await asyncio.sleep(30)
        server.faults.replace(())
        await asyncio.sleep(30)
        assert server.engine.load.running == 1
        assert client.said == "Serialize obj"
        assert 58 <= client.events.count(": ping") <= 60
        client.gone.set()
        await task
        assert server.engine.load.running == 0

    run(stall())


def test_an_abort_is_dressed_as_success(run: Run) -> None:
    """`finish_reason: abort` and `[DONE]` after two tokens, streamed or whole; it counts as an abort."""
    server = Server()
    server.put(kind="abort", after_tokens=2)
    client = run(server.stream())
    assert (client.said, client.events[-1], client.whole) == ("Serialize obj", "[DONE]", True)
    assert json.loads(client.events[-2])["choices"][0]["finish_reason"] == "abort"
    whole = run(server.call("POST", CHAT, json=_body())).json()
    assert whole["choices"][0]["finish_reason"] == "abort"
    assert whole["usage"]["completion_tokens"] == 2
    assert server.engine.finished["abort"] == 2


def test_a_complete_answer_can_no_longer_be_aborted(run: Run) -> None:
    """One ending, not two: a fault that comes after the last token leaves the answer as it is."""
    server = Server()
    tokens = run(server.call("POST", CHAT, json=_body())).json()["usage"]["completion_tokens"]
    server.put(kind="abort", after_tokens=tokens)
    client = run(server.stream())
    endings = [json.loads(event)["choices"][0]["finish_reason"] for event in client.events[:-1]]
    assert endings == [None] * tokens + ["stop"]
    assert client.events[-1] == "[DONE]"
    whole = run(server.call("POST", CHAT, json=_body())).json()
    assert whole["choices"][0]["finish_reason"] == "stop"
    server.put(kind="abort", after_tokens=tokens - 1)
    assert run(server.call("POST", CHAT, json=_body())).json()["choices"][0]["finish_reason"] == "abort"


def test_a_truncated_answer_ends_well_framed_and_without_an_ending(run: Run) -> None:
    """No finish reason, no `[DONE]`; an object in one piece is cut in half."""
    server = Server()
    server.put(kind="truncate", after_tokens=3)
    client = run(server.stream())
    assert (client.said, client.whole) == ("Serialize obj to", True)
    assert all(json.loads(event)["choices"][0]["finish_reason"] is None for event in client.events)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        run(server.call("POST", CHAT, json=_body())).json()


def test_a_cut_leaves_the_body_unfinished(run: Run) -> None:
    """Which the server answers by closing the connection."""
    server = Server()
    server.put(kind="cut", after_tokens=3)
    client = run(server.stream())
    assert (client.said, client.whole) == ("Serialize obj to", False)


def test_a_malformed_chunk_stands_between_good_ones(run: Run) -> None:
    """The answer is whole otherwise."""
    server = Server()
    server.put(kind="malformed_chunk", after_tokens=3)
    client = run(server.stream())
    broken = [event for event in client.events[:-1] if not event.endswith("}")]
    assert len(broken) == 1
    assert client.events.index(broken[0]) == 4
    assert client.events[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ({"kind": "rate_limited", "retry_after_s": 1.5}, 429, "2"),
        ({"kind": "unavailable"}, 503, None),
        ({"kind": "context_overflow"}, 400, None),
        ({"kind": "slow_startup", "for_s": 60}, 503, None),
    ],
)
def test_a_refusal_takes_no_place(run: Run, fault: Any, status: int, retry_after: str | None) -> None:
    """Status, error object, and `Retry-After` in whole seconds."""
    server = Server()
    server.put(**fault)
    answer = run(server.call("POST", CHAT, json=_body(stream=True)))
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.json()["error"]["code"] == status
    assert server.engine.load.running == server.engine.prompt_tokens == 0


@pytest.mark.parametrize(
    "fault",
    [
        *(
            {"kind": kind, "after_tokens": 2}
            for kind in ("stall", "malformed_chunk", "cut", "truncate", "abort")
        ),
        {"kind": "stall", "after_tokens": 0, "ping_s": 0.01},
        {"kind": "slow_first_token", "delay_s": 600},
        {"kind": "slow_tokens", "delay_s": 600},
    ],
    ids=lambda fault: fault["kind"],
)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reading", [True, False])
def test_a_hang_up_frees_the_place_whatever_the_fault(
    run: Run, fault: Any, stream: bool, reading: bool
) -> None:
    """A client that leaves, read or not, leaves nothing behind."""

    async def hang_up() -> None:
        server = Server(max_num_seqs=1)
        server.put(**fault)
        client = Client(json.dumps(_body(stream=stream)).encode())
        if reading:
            client.reading.set()
        task = server.start(client)
        await asyncio.sleep(0.09)
        client.gone.set()
        await asyncio.sleep(0.01)
        assert task.done()
        assert (server.engine.load.running, server.engine.load.waiting) == (0, 0)

    run(hang_up())


@pytest.mark.parametrize("body", [b'{"\\ud800": 1}', b'{"faults": [{"kind": "crash", "\\udfff": 1}]}'])
def test_half_a_character_in_a_key_is_refused_like_any_other(run: Run, body: bytes) -> None:
    """JSON can write what no UTF-8 can carry; the answer that names the key still gets out."""
    answer = run(Server().call("POST", "/admin/faults", content=body))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, 400)
    assert error["message"]


@pytest.mark.parametrize("headers", [{"host": "[::1"}, {"origin": "http://[::1"}, {"host": "localhost:8x"}])
def test_headers_that_are_no_addresses_are_refused_at_the_control_surface(run: Run, headers: Any) -> None:
    """403, not an internal error; a port that is none changes nothing about the name."""
    expected = 200 if headers == {"host": "localhost:8x"} else 403
    assert run(Server().call("GET", "/admin/faults", headers=headers)).status_code == expected


def test_a_server_that_starts_up_is_not_ready_for_anybody(run: Run) -> None:
    """Its control surface is, or nobody could end it."""
    server = Server()
    server.put(kind="slow_startup", for_s=60)
    assert run(server.call("GET", "/health")).status_code == 503
    assert run(server.call("GET", "/v1/models")).status_code == 503
    assert run(server.call("DELETE", "/admin/faults")).status_code == 200
    assert run(server.call("GET", "/health")).status_code == 200
