"""Each fault on streams in front of the model server's simulator, beside the same request without it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
TOKENS = 12
PROMPT = (
    "Context:\n[1] json.dumps(obj)\nSerialize obj to a JSON formatted str.\n\nQuestion: How do I serialize?"
)
BODY = {
    "model": "simulated",
    "messages": [{"role": "user", "content": PROMPT}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "stream": True,
}


@dataclass
class Heard:
    """What a client heard of a stream, with the time of each event since the head."""

    status: int = 0
    events: list[tuple[float, str]] = field(default_factory=list)
    comments: int = 0
    error: Exception | None = None
    after_s: float = 0.0

    @property
    def tokens(self) -> list[str]:
        """The texts."""
        return [text for _, text in self.timed_tokens]

    @property
    def timed_tokens(self) -> list[tuple[float, str]]:
        found = []
        for at_s, data in self.events:
            value = _object(data)
            for choice in value.get("choices", ()) if value else ():
                if choice["delta"].get("content"):
                    found.append((at_s, choice["delta"]["content"]))
        return found

    @property
    def finish_reason(self) -> str | None:
        reasons = [
            choice["finish_reason"]
            for _, data in self.events
            for choice in (_object(data) or {}).get("choices", ())
            if choice["finish_reason"]
        ]
        return reasons[-1] if reasons else None

    @property
    def is_done(self) -> bool:
        return any(data == "[DONE]" for _, data in self.events)

    @property
    def broken(self) -> int:
        return sum(_object(data) is None for _, data in self.events if data != "[DONE]")


def _object(data: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(data))
    except ValueError:
        return None


def listen(url: str, patience_s: float = 10.0, **more: Any) -> Heard:
    """Stream one answer, until it is over or nothing came for `patience_s`."""
    heard = Heard()
    start = time.monotonic()
    try:
        with httpx.stream("POST", url + CHAT, json=BODY | more, timeout=patience_s) as answer:
            heard.status = answer.status_code
            begun = time.monotonic()
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    heard.events.append((time.monotonic() - begun, line[5:].strip()))
                elif line.startswith(":"):
                    heard.comments += 1
    except httpx.HTTPError as error:
        heard.error = error
    heard.after_s = time.monotonic() - start
    return heard


@pytest.fixture
def arms(faulty: Any, simulator: str) -> Any:
    """The stream with a fault, then without it, which is always whole; and the fault's record."""
    through = faulty.proxy(simulator, name="llm")

    def both(type_: str, patience_s: float = 10.0, **attributes: Any) -> tuple[Heard, Heard, dict[str, Any]]:
        after = faulty.seen()
        name = faulty.fault(type_, proxy="llm", path=CHAT, **attributes)
        struck = listen(through, patience_s)
        faulty.unfault(name, proxy="llm")
        spared = listen(through)
        assert (spared.status, spared.error, spared.broken, spared.comments) == (200, None, 0, 0)
        assert (len(spared.tokens), spared.finish_reason, spared.is_done) == (TOKENS, "length", True)
        deadline = time.monotonic() + 5  # the record comes when the proxy notices that the client is gone
        while not (records := faulty.records(after)) and time.monotonic() < deadline:
            time.sleep(0.01)
        (record,) = records
        assert (record["proxy"], record["path"], record["status"]) == ("llm", CHAT, 200)
        assert [fault["type"] for fault in record["faults"]] == [type_]
        return struck, spared, record["faults"][0]

    return both


def running(simulator: str) -> int:
    """How many answers the simulator is generating."""
    return int(httpx.get(f"{simulator}/admin/state").json()["running"])


def test_slow_first_token(arms: Any) -> None:
    """The head is there in time, the first token 0.5 s later, the others right after it."""
    struck, spared, fault = arms("slow_first_token", delay_s=0.5)
    assert struck.tokens == spared.tokens
    assert struck.timed_tokens[0][0] >= 0.5 > spared.timed_tokens[0][0]
    assert 0.49 <= fault["delay_s"] < 3


def test_slow_tokens(arms: Any) -> None:
    """All tokens come, each but the first at least 50 ms after the one before."""
    struck, spared, fault = arms("slow_tokens", delay_s=0.05)
    assert struck.tokens == spared.tokens
    assert struck.timed_tokens[-1][0] - struck.timed_tokens[0][0] >= 0.05 * (TOKENS - 1) * 0.95
    assert fault["delay_s"] >= 0.05 * (TOKENS - 1) * 0.95


def test_stall(arms: Any) -> None:
    """Silence after the tokens, until the client gives up."""
    struck, spared, fault = arms("stall", patience_s=1.0, after_tokens=4)
    assert struck.tokens == spared.tokens[:4]
    assert isinstance(struck.error, httpx.ReadTimeout)
    assert 0.9 <= fault["delay_s"] < 5


def test_stall_with_pings(arms: Any) -> None:
    """Comments keep coming, so that a client that times bytes waits; then the answer goes on."""
    struck, spared, _ = arms("stall", patience_s=0.5, after_tokens=4, ping_s=0.1, for_s=1.0)
    assert struck.tokens == spared.tokens
    assert struck.comments >= 5 and struck.after_s >= 1.0


@pytest.mark.parametrize(("how", "error"), [("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
def test_cut(arms: Any, how: str, error: type[Exception]) -> None:
    """The connection ends in mid-answer: closed, or with a TCP reset."""
    struck, spared, fault = arms("cut", after_tokens=4, how=how)
    assert struck.tokens == spared.tokens[:4]
    assert isinstance(struck.error, error), struck.error
    assert fault["note"] == f"{how} after 4 tokens"


def test_truncate(arms: Any) -> None:
    """The body ends well; the answer has neither a finish reason nor `[DONE]`."""
    struck, spared, _ = arms("truncate", after_tokens=4)
    assert struck.tokens == spared.tokens[:4]
    assert (struck.error, struck.finish_reason, struck.is_done) == (None, None, False)


def test_malformed_chunk(arms: Any) -> None:
    """One event is no JSON; all tokens are there."""
    struck, spared, _ = arms("malformed_chunk", after_tokens=4)
    assert (struck.tokens, struck.broken, struck.is_done) == (spared.tokens, 1, True)


def test_done_after_abort(arms: Any) -> None:
    """Half an answer that says `[DONE]`."""
    struck, spared, _ = arms("done_after_abort", after_tokens=4)
    assert struck.tokens == spared.tokens[:4]
    assert (struck.error, struck.finish_reason, struck.is_done) == (None, "abort", True)


@pytest.mark.parametrize("type_", ["truncate", "cut", "done_after_abort", "stall"])
def test_the_model_server_stops_when_its_client_is_cut_off(faulty: Any, simulator: str, type_: str) -> None:
    """Whoever is sent away, or gives up, costs the model server no further tokens."""
    through = faulty.proxy(simulator, name="llm")
    faulty.fault(type_, proxy="llm", after_tokens=2)
    listen(through, patience_s=0.5, max_tokens=3000)
    deadline = time.monotonic() + 5
    while running(simulator) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running(simulator) == 0


def test_a_client_that_hangs_up_stops_the_model_server(faulty: Any, simulator: str) -> None:
    """Also without a fault; until then it is at work."""
    through = faulty.proxy(simulator, name="llm")
    with httpx.stream("POST", through + CHAT, json=BODY | {"max_tokens": 3000}, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert running(simulator) == 1
    deadline = time.monotonic() + 5
    while running(simulator) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running(simulator) == 0


def test_removing_a_stall_lets_the_answer_go_on(faulty: Any, simulator: str) -> None:
    """The client that was waiting gets the rest at once: nothing outlives its removal."""
    through = faulty.proxy(simulator, name="llm")
    name = faulty.fault("stall", proxy="llm", after_tokens=2)
    with httpx.stream("POST", through + CHAT, json=BODY, timeout=60) as answer:
        lines = answer.iter_lines()
        while "content" not in next(lines):
            pass
        faulty.unfault(name, proxy="llm")
        assert "data: [DONE]" in list(lines)


def test_a_whole_answer_is_no_stream(faulty: Any, simulator: str) -> None:
    """An answer in one piece passes stream faults, and `malformed_json` breaks it."""
    through = faulty.proxy(simulator, name="llm")
    body = BODY | {"stream": False}
    faulty.fault("stall", proxy="llm", after_tokens=2)
    whole = httpx.post(through + CHAT, json=body, timeout=60).json()
    assert whole["choices"][0]["finish_reason"] == "length"
    faulty.fault("malformed_json", proxy="llm")
    with pytest.raises(json.JSONDecodeError):
        httpx.post(through + CHAT, json=body, timeout=60).json()
