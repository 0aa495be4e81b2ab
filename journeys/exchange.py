"""One HTTP exchange: a question out, an answer in, and an honest account of how it ended.

It speaks through geventhttpclient, the client inside Locust's FastHttpUser, without the session around
it: that one reports success at the headers, swallows timeouts, keeps cookies nobody sets, and costs
more than the request. `readline` hands lines out as they arrive; `Accept-Encoding: identity` keeps
proxies from collecting them first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import gevent
from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse

from journeys.clock import Clock
from journeys.outcome import Ending, Reading
from journeys.stream import AnswerStream, whole_answer

BROKEN = (OSError, HTTPParseError)
"""What geventhttpclient raises when a connection fails or breaks off."""


class Closed(gevent.GreenletExit):  # type: ignore[misc]
    """Thrown into a journey that has to end now."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one request came to; times are Unix time."""

    start_s: float
    end_s: float
    status: int | None
    ending: Ending
    reading: Reading


class AnswerClient:
    """Asks a target, over as many kept-alive connections as there are users at once."""

    def __init__(self, target: str, *, connections: int, clock: Clock) -> None:
        self._path = urlsplit(target).path.rstrip("/")
        self._clock = clock
        self._http = HTTPClient.from_url(
            target, concurrency=connections, connection_timeout=None, network_timeout=None
        )

    def greet(self, within_s: float) -> int:
        """The status of `/healthz`; raises OSError when the target cannot be reached."""
        try:
            with gevent.Timeout(within_s, TimeoutError(f"no answer within {within_s:g} s")):
                response = self._http.request("GET", f"{self._path}/healthz")
                response.read()
                return int(response.status_code)
        except HTTPParseError as error:
            raise ConnectionError(str(error)) from error

    def ask(
        self,
        question: dict[str, str | bool],
        headers: dict[str, str],
        *,
        patience_s: float,
        first_token_within_s: float | None = None,
    ) -> Exchange:
        """Send a question and read until the answer ends or the user's patience does."""
        body = json.dumps(question).encode()
        patience = gevent.Timeout.start_new(patience_s)
        hang_up = gevent.Timeout.start_new(first_token_within_s)
        start_s = self._clock.now_s()
        answer = _Answer(self._clock)
        try:
            answer.read(self._http.request("POST", f"{self._path}/v1/answers", body, headers), hang_up)
            ending = Ending.FINISHED
        except BROKEN:
            ending = Ending.UNREACHABLE if answer.status is None else Ending.CUT
        except gevent.Timeout as expired:
            if expired not in (patience, hang_up):
                raise
            ending = Ending.OUT_OF_PATIENCE if expired is patience else Ending.HUNG_UP
        except Closed as closed:
            ending = closed.ending
        finally:
            patience.close()
            hang_up.close()
        reading = answer.reading()
        end_s = self._clock.now_s() if reading.ended_s is None else reading.ended_s
        return Exchange(start_s, end_s, answer.status, ending, reading)


class _Answer:
    """The answer as far as it has arrived; survives whatever interrupts the reading of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stream: AnswerStream | None = None
        self._whole = Reading()
        self.status: int | None = None

    def read(self, response: HTTPSocketPoolResponse, hang_up: gevent.Timeout) -> None:
        self.status = int(response.status_code)
        if 200 <= self.status < 300 and _says(response, "content-type").startswith("text/event-stream"):
            self._stream = AnswerStream()
            self._follow(response, self._stream, hang_up)
            return
        body = response.read()
        if 200 <= self.status < 300:
            self._whole = whole_answer(body, self._clock.now_s())
        else:
            self._whole = Reading(service_outcome=_says(response, "x-rag-outcome") or None)

    def reading(self) -> Reading:
        return self._whole if self._stream is None else self._stream.ended(self._clock.now_s())

    def _follow(
        self, response: HTTPSocketPoolResponse, stream: AnswerStream, hang_up: gevent.Timeout
    ) -> None:
        while line := response.readline(b"\n"):
            stream.line(line, self._clock.now_s())
            if hang_up.pending and stream.started:
                hang_up.cancel()


def _says(response: HTTPSocketPoolResponse, header: str) -> str:
    value = response.get(header, "")
    return value.strip().lower() if isinstance(value, str) else ""
