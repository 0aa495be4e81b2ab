"""Callers of the service: each with a time to come, a patience, and perhaps the habit of hanging up.

Arrivals are an open loop: a slow answer does not keep the next caller away. Each attempt brings its own trace
id, so that also an attempt that never got an answer can be joined to its spans.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from tests.scenario.behaviour.evidence import Attempt, Event

GRACE_S = 0.25
"""What callers wait beyond the patience that they told: they hear the service's last word on its deadline."""
QUESTIONS = (
    "How do I rename a file?",
    "How can I parse JSON from a string?",
    "How do I read a CSV file row by row?",
    "How do I run another program and capture its output?",
    "How do I compute a SHA-256 hash?",
    "How do I walk a directory tree?",
    "How do I parse command line arguments?",
    "How do I set a timeout on a socket?",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One caller: comes at `at_s`, waits `patience_s`, hangs up after so many tokens or seconds."""

    at_s: float = 0.0
    question: str = QUESTIONS[0]
    stream: bool = True
    patience_s: float = 5.0
    deadline: bool = True
    hang_up_tokens: int | None = None
    hang_up_s: float | None = None
    criticality: str | None = None


def steady(rate: float, for_s: float, start_s: float = 0.0, **fields: Any) -> list[Ask]:
    """Evenly spaced callers, every second one for a stream unless told otherwise."""
    number = round(rate * for_s)
    asks = [Ask(start_s + at / rate, QUESTIONS[at % len(QUESTIONS)], **fields) for at in range(number)]
    if "stream" not in fields:
        asks = [replace(ask, stream=at % 2 == 0) for at, ask in enumerate(asks)]
    return asks


def at_once(number: int, start_s: float = 0.0, **fields: Any) -> list[Ask]:
    """As many callers in the same instant."""
    return [Ask(start_s, QUESTIONS[at % len(QUESTIONS)], **fields) for at in range(number)]


async def drive(url: str, asks: Sequence[Ask], first_number: int) -> tuple[Attempt, ...]:
    """All attempts, when the last one has ended."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=None, trust_env=False) as client:
        started = asyncio.get_running_loop().time()

        async def one(number: int, ask: Ask) -> Attempt:
            await asyncio.sleep(started + ask.at_s - asyncio.get_running_loop().time())
            return await _attempt(client, number, ask)

        tasks = [one(first_number + offset, ask) for offset, ask in enumerate(asks)]
        return tuple(await asyncio.gather(*tasks))


async def _attempt(client: httpx.AsyncClient, number: int, ask: Ask) -> Attempt:
    trace_id = f"{number + 1:032x}"
    headers = {"traceparent": f"00-{trace_id}-{number + 1:016x}-01"}
    if ask.deadline:
        headers["X-Request-Deadline-Ms"] = str(int(ask.patience_s * 1000))
    body: dict[str, Any] = {"question": ask.question, "stream": ask.stream}
    if ask.criticality:
        body["criticality"] = ask.criticality
    seen = _Seen(ask)
    started_s = time.time()
    try:
        async with asyncio.timeout(ask.patience_s + GRACE_S if ask.hang_up_s is None else ask.hang_up_s):
            async with client.stream("POST", "/v1/answers", json=body, headers=headers) as response:
                await seen.read(response)
        ending = "hung_up" if seen.hung_up else "answered"
    except TimeoutError:
        ending = "timeout" if ask.hang_up_s is None else "hung_up"
    except httpx.HTTPError as error:
        ending = type(error).__name__
    return Attempt(
        number=number,
        trace_id=trace_id,
        question=ask.question,
        stream=ask.stream,
        patience_s=ask.patience_s,
        started_s=started_s,
        ended_s=time.time(),
        ending=ending,
        status=seen.status,
        headers=seen.headers,
        body=seen.body,
        events=tuple(seen.events),
    )


class _Seen:
    """What has been read so far, kept when the reading is cut short."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}
        self.events: list[Event] = []
        self.hung_up = False

    async def read(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = dict(response.headers)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            content = await response.aread()
            if response.headers.get("content-type", "").startswith("application/json"):
                self.body = json.loads(content)
            return
        name, tokens = "", 0
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                self.events.append(Event(name, json.loads(line[6:]), time.time()))
                tokens += name == "token"
                if self._ask.hang_up_tokens is not None and tokens >= self._ask.hang_up_tokens:
                    self.hung_up = True
                    return
