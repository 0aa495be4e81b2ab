"""One kind, two places: a client cannot tell the simulator's fault from the proxy's before another server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos.clock import SystemClock
from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.controls import Controls
from chaos.control.simulator import SimulatorFaults
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import Fault, fault_kinds, parse_fault
from chaos.faults.answer_fault import AnswerFault
from chaos.safety.undo import perform
from chaos.stack.environment import child_environment
from chaos.stack.part import Part, PartPlan, wait_ready
from chaos.stack.ports import reserve_port

pytestmark = pytest.mark.slow
ASKED = {
    "model": "tiny",
    "stream": True,
    "max_tokens": 12,
    "messages": [{"role": "user", "content": "How do I rename a file? " * 8}],
}
KINDS: dict[str, dict[str, Any]] = {
    "abort": {"after_tokens": 3},
    "context_overflow": {},
    "cut": {"after_tokens": 3},
    "malformed_chunk": {"after_tokens": 3},
    "rate_limited": {"retry_after": "1500ms"},
    "slow_first_token": {"delay": "400ms"},
    "slow_tokens": {"delay": "60ms"},
    "stall": {"after_tokens": 3},
    "truncate": {"after_tokens": 3},
    "unavailable": {},
}

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, Controls]]]:
    """Where a client asks, and the controls: the simulator itself, and a proxy before it."""
    folder = tmp_path_factory.mktemp("places")
    model, api = (f"http://127.0.0.1:{reserve_port()}" for _ in range(2))
    plans = (
        _plan("llm", "rag_service.model_server", model, "/health", folder, "--model", "tiny"),
        _plan("proxy", "chaos.proxy", api, "/version", folder),
    )
    parts = [Part.start(plan, folder) for plan in plans]
    try:
        wait_ready(parts, SystemClock())
        upstream = model.removeprefix("http://")
        made = Toxiproxy(api).create_proxy("llm", "127.0.0.1:0", upstream, http=True)
        yield {
            "simulator": (model, Controls(Toxiproxy(api), simulator=SimulatorFaults(upstream))),
            "proxy": (f"http://{made.listen}", Controls(Toxiproxy(api), requests=BuiltinProxy(api))),
        }
    finally:
        for part in parts:
            part.stop()


def _plan(name: str, module: str, url: str, ready: str, folder: Path, *more: str) -> PartPlan:
    command = (sys.executable, "-m", module, "--host", "127.0.0.1", "--port", url.rpartition(":")[2], *more)
    return PartPlan(name, command, child_environment({}, str(folder)), url, url + ready)


def see(url: str) -> Seen:
    """What a client makes of one answer: status, text, how it ended, and when its tokens came."""
    seen: Seen = {"status": 0, "text": "", "finish": None, "done": False, "unreadable": 0, "ended": "well"}
    began_s = time.monotonic()
    token_at_s: list[float] = []
    try:
        with (
            httpx.Client(timeout=1.0, trust_env=False) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=ASKED) as answer,
        ):
            seen["status"] = answer.status_code
            if answer.status_code != 200:
                seen["refused"] = json.loads(answer.read())
                seen["retry_after"] = answer.headers.get("retry-after")
                return seen
            for line in answer.iter_lines():
                _take(line, seen, token_at_s, time.monotonic() - began_s)
    except httpx.HTTPError as error:
        seen["ended"] = type(error).__name__
    seen["first_s"] = token_at_s[0] if token_at_s else None
    seen["between_s"] = token_at_s[-1] - token_at_s[0] if token_at_s else None
    seen["tokens"] = len(token_at_s)
    return seen


def _take(line: str, seen: Seen, token_at_s: list[float], at_s: float) -> None:
    if not line.startswith("data:"):
        return
    if line == "data: [DONE]":
        seen["done"] = True
        return
    try:
        choices = json.loads(line.removeprefix("data:"))["choices"]
    except ValueError:
        seen["unreadable"] += 1
        return
    for choice in choices:
        if text := choice.get("delta", {}).get("content"):
            seen["text"] += text
            token_at_s.append(at_s)
        seen["finish"] = choice.get("finish_reason") or seen["finish"]


def plainly(seen: Seen) -> Seen:
    """Without the times."""
    return {key: value for key, value in seen.items() if not key.endswith("_s")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_cannot_tell_the_two_places_apart(
    kind: str, places: dict[str, tuple[str, Controls]]
) -> None:
    """The same status, text and end in both; counted once in both; and afterwards the answer is whole."""
    assert {name for name, one in fault_kinds().items() if issubclass(one, AnswerFault)} == set(KINDS)
    fault = parse_fault("it", {"on": "llm", "kind": kind, **KINDS[kind]})
    found = {place: _through(fault, *where) for place, where in places.items()}
    (whole, struck), (_, by_proxy) = found["simulator"], found["proxy"]
    assert plainly(struck) == plainly(by_proxy)
    if kind == "slow_first_token":
        assert all(seen["first_s"] >= 0.4 for seen in (struck, by_proxy)) and whole["first_s"] < 0.4
    elif kind == "slow_tokens":
        least_s = 0.9 * 0.06 * (whole["tokens"] - 1)
        assert struck["between_s"] >= least_s and by_proxy["between_s"] >= least_s > whole["between_s"], found
    else:
        assert plainly(struck) != plainly(whole)


def _through(fault: Fault, url: str, at: Controls) -> tuple[Seen, Seen]:
    """A whole answer, and one that the fault struck; then it is gone, however often it is undone."""
    fault.check(at)
    whole = see(url)
    fault.inject(at, "it")
    assert fault.read_back(at, "it")["probability"] == 1.0
    struck = see(url)
    assert fault.remove(at, "it") == {"hits": 1}
    assert fault.is_gone(at, "it")
    _eventually(lambda: plainly(see(url)) == plainly(whole))
    fault.inject(at, "it")
    perform(fault.undo(at, "it"))
    perform(fault.undo(at, "it"))
    assert fault.is_gone(at, "it") and plainly(see(url)) == plainly(whole)
    assert whole["status"] == 200 and whole["done"] and whole["text"]
    return whole, struck


def _eventually(holds: Callable[[], bool], within_s: float = 5.0) -> None:
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.05)
