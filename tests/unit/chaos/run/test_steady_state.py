"""Whether a service is well: everything that is off is said, before a run and after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos.errors import EnvironmentFailure
from chaos.run.journal import Journal, read
from chaos.run.progress import SilentProgress
from chaos.run.steady_state import (
    QUESTIONS,
    STREAMED,
    look_at_steady_state,
    require_steady_state,
    tell_whether_well_again,
)

FULL: dict[str, Any] = {"outcome": "full", "degraded": [], "citations": [{"id": "a"}]}
Service = Callable[[httpx.Request, int], httpx.Response]


class Stack:
    """A stack of which only the service's address and its breakers are looked at."""

    service_url = "http://service"

    def __init__(self, **breakers: str) -> None:
        self._breakers = breakers or {"vector_db": "closed"}

    def breaker_states(self) -> dict[str, str]:
        return self._breakers


def sse(**answer: Any) -> httpx.Response:
    events = {"meta": {"citations": answer.pop("citations", [])}, "token": {"text": "so"}, "done": answer}
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events.items())
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def well(request: httpx.Request, asked: int = 0) -> httpx.Response:
    del asked
    if request.url.path == "/readyz":
        return httpx.Response(200, json={"ready": True})
    return sse(**FULL) if json.loads(request.content).get("stream") else httpx.Response(200, json=FULL)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Service], None]:
    """Let a function be the service; it is told how often the question was asked before."""

    def install(service: Service) -> None:
        asked: dict[str, int] = {}

        def handle(request: httpx.Request) -> httpx.Response:
            key = request.content.decode()
            asked[key] = asked.get(key, 0) + 1
            return service(request, asked[key] - 1)

        monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(handle)))

    return install


def off(**stack: str) -> str:
    return "; ".join(look_at_steady_state(Stack(**stack), 5.0).off)  # type: ignore[arg-type]


def test_a_well_service_holds(serve: Callable[[Service], None], tmp_path: Path) -> None:
    """Ready, closed, full, with sources, as JSON and as a stream: that is written down."""
    serve(well)
    with Journal(tmp_path / "journal.jsonl") as journal:
        require_steady_state(Stack(), 5.0, journal)  # type: ignore[arg-type]
    [told] = read(tmp_path / "journal.jsonl")

    assert (told["event"], told["answers"], told["breakers"]) == (
        "service.steady",
        len(QUESTIONS),
        {"vector_db": "closed"},
    )


def test_everything_that_is_off_is_said(serve: Callable[[Service], None], tmp_path: Path) -> None:
    """Not only the first of it: whoever puts it right wants to know all."""

    def sick(request: httpx.Request, asked: int) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(503, text="waiting for the index")
        question = QUESTIONS.index(json.loads(request.content)["question"])
        match question:
            case 0:
                return httpx.Response(200, text="event: token\ndata: {}\n\n")
            case 1:
                return sse(outcome="degraded", degraded=[{"segment": "search"}])
            case 2:
                return httpx.Response(503, text="too many")
            case 3:
                raise httpx.ReadTimeout("slow", request=request)
            case 4:
                return httpx.Response(200, json={**FULL, "citations": []})
        return well(request, asked)

    serve(sick)
    with (
        Journal(tmp_path / "journal.jsonl") as journal,
        pytest.raises(EnvironmentFailure, match="no fault was in yet") as caught,
    ):
        require_steady_state(Stack(vector_db="closed", llm="open"), 5.0, journal)  # type: ignore[arg-type]
    said = str(caught.value)

    assert STREAMED == 2
    for word in (
        "/readyz says HTTP 503: waiting for the index",
        "ended without its last word (events: token)",
        "the outcome degraded, not a full answer",
        "HTTP 503: too many",
        "ReadTimeout",
        "without citations",
        "the breaker llm is open",
    ):
        assert word in said, word
    assert QUESTIONS[5] not in said


def test_a_question_that_goes_wrong_once_is_asked_again(serve: Callable[[Service], None]) -> None:
    """Caches are cold after a start; what goes wrong twice is wrong."""
    serve(lambda request, asked: httpx.Response(500) if request.content and not asked else well(request))
    assert off() == ""
    serve(lambda request, _: httpx.Response(500) if request.content else well(request))
    assert off().count("HTTP 500") == len(QUESTIONS)


def test_a_service_without_readiness_is_taken_by_its_answers(serve: Callable[[Service], None]) -> None:
    """Another service need not have that path."""
    serve(lambda request, _: httpx.Response(404) if request.url.path == "/readyz" else well(request))
    assert off() == ""


def test_an_answer_that_takes_too_long_is_off(serve: Callable[[Service], None]) -> None:
    """It came in the end, but no user would have waited for it."""
    now_s = [0.0]

    def slow(request: httpx.Request, asked: int) -> httpx.Response:
        now_s[0] += 6.0
        return well(request, asked)

    serve(slow)
    seen = look_at_steady_state(Stack(), 5.0, monotonic_s=lambda: now_s[0])  # type: ignore[arg-type]
    assert len(seen.off) == len(QUESTIONS) and "took 6 s, allowed is 5 s" in seen.off[0]


def test_at_the_end_nobody_waits_for_a_service_that_hangs(
    serve: Callable[[Service], None], tmp_path: Path
) -> None:
    """What could not be asked in time is said, written down, and no error."""
    now_s = [0.0]

    def hanging(request: httpx.Request, asked: int) -> httpx.Response:
        del asked
        now_s[0] += 5.0
        raise httpx.ReadTimeout("", request=request)

    serve(hanging)
    seen = look_at_steady_state(Stack(), 5.0, 15.0, lambda: now_s[0])  # type: ignore[arg-type]
    assert now_s[0] <= 30.0 and "could be asked within 15 s" in seen.off[-1]
    said: list[str] = []
    progress = SilentProgress()
    progress.step = said.append  # type: ignore[method-assign]
    with Journal(tmp_path / "journal.jsonl") as journal:
        tell_whether_well_again(Stack(), journal, progress)  # type: ignore[arg-type]
    assert "not well again: /readyz gave ReadTimeout" in said[-1]
    [told] = read(tmp_path / "journal.jsonl")
    assert (told["event"], told["held"], told["answers"]) == ("service.afterwards", False, 0)
