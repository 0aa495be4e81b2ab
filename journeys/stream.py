"""Reads an answer as its bytes arrive, and remembers what a user would: first word, stalls, the end.

Pure: lines and times go in, a reading comes out; the socket is `exchange`'s business. Locust's own
`iter_lines` waits for 1,024 bytes and so reports 410 ms for a first token that came after 100 ms.

A token's JSON is parsed only until the first text was seen, then tokens are counted unread: generator
and service share a machine, and at 30 streams of 50 tokens a second that parsing is what costs.
"""

from __future__ import annotations

import json
from typing import Any

from journeys.outcome import Reading, Terminal


class AnswerStream:
    """The server-sent events of one answer, line by line."""

    def __init__(self) -> None:
        self._event = b""
        self._data: list[bytes] = []
        self._first_s: float | None = None
        self._last_s = 0.0
        self._gap_s = 0.0
        self._tokens = 0
        self._terminal: Terminal | None = None
        self._terminal_events = 0
        self._ended_s: float | None = None
        self._outcome: str | None = None
        self._degraded: list[Any] | None = None
        self._citations: list[str] | None = None

    @property
    def started(self) -> bool:
        """Whether the first text of the answer has arrived."""
        return self._first_s is not None

    @property
    def terminated(self) -> bool:
        """Whether the terminal event has arrived; of what follows only the terminal events are counted."""
        return self._terminal is not None

    def line(self, raw: bytes, at_s: float) -> None:
        """Take one line, with or without its line end, that arrived at `at_s`."""
        line = raw.rstrip(b"\r\n")
        if not line:
            self._dispatch(at_s)
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            self._event = line[6:].strip()

    def ended(self, at_s: float) -> Reading:
        """The reading when the client stops at `at_s`; a final silence counts as a gap too."""
        ended_s = at_s if self._ended_s is None else self._ended_s
        gap_s = max(self._gap_s, ended_s - self._last_s) if self.started else None
        return Reading(
            terminal=self._terminal,
            terminal_events=self._terminal_events,
            ended_s=ended_s,
            first_token_s=self._first_s,
            largest_gap_s=gap_s,
            tokens=self._tokens,
            service_outcome=self._outcome,
            degraded=self._degraded,
            citations=self._citations,
        )

    def _dispatch(self, at_s: float) -> None:
        event, data = self._event, self._data
        self._event, self._data = b"", []
        if not data:
            return
        self._terminal_events += event in (b"done", b"error")
        if self._terminal is not None:
            return
        if event == b"token":
            self._token(data, at_s)
        elif event == b"meta":
            self._claim(_object(data))
        elif event == b"done":
            self._claim(_object(data))
            self._terminal, self._ended_s = Terminal.DONE, at_s
        elif event == b"error":
            self._terminal, self._ended_s = Terminal.ERROR, at_s

    def _token(self, data: list[bytes], at_s: float) -> None:
        if self._first_s is None:
            if not _object(data).get("text"):
                return
            self._first_s = at_s
        elif at_s - self._last_s > self._gap_s:
            self._gap_s = at_s - self._last_s
        self._last_s = at_s
        self._tokens += 1

    def _claim(self, said: dict[str, Any]) -> None:
        reading = claims(said)
        self._outcome = reading.service_outcome or self._outcome
        self._degraded = self._degraded if reading.degraded is None else reading.degraded
        self._citations = self._citations if reading.citations is None else reading.citations


def claims(said: dict[str, Any]) -> Reading:
    """What a JSON object of the service claims about the answer; what has another shape is no claim."""
    outcome, degraded, cited = said.get("outcome"), said.get("degraded"), said.get("citations")
    return Reading(
        service_outcome=outcome if isinstance(outcome, str) else None,
        degraded=degraded if isinstance(degraded, list) else None,
        citations=[str(one["id"]) for one in cited if isinstance(one, dict) and "id" in one]
        if isinstance(cited, list)
        else None,
    )


def whole_answer(body: bytes, at_s: float) -> Reading:
    """The reading of a JSON answer that arrived whole at `at_s`."""
    said = _object([body])
    claim = claims(said)
    return Reading(
        terminal=Terminal.DONE if "answer" in said and claim.service_outcome else Terminal.ERROR,
        ended_s=at_s,
        service_outcome=claim.service_outcome,
        degraded=claim.degraded,
        citations=claim.citations,
    )


def _object(data: list[bytes]) -> dict[str, Any]:
    try:
        found = json.loads(b"\n".join(data))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
