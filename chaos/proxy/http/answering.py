"""An answer's way to the client: as it came, with what faults made of it, or of the hop's own.

What no fault wants to change keeps its spelling, its pieces and its framing; an answer with neither length
nor chunks goes on in chunks. What the upstream sent before it broke off is passed on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus

import h11

from chaos.proxy.http.exchange import chained
from chaos.proxy.http.passage import AnswerHead, Body, Header, Headers, OwnAnswer, Passage
from chaos.proxy.http.peer import EVENTS_AT_ONCE, Peer

_SERVER = (b"server", b"ragquake-fault-proxy")
_TRANSFER_ENCODING = b"Transfer-Encoding: chunked\r\n"  # as h11 writes it


class ClosedError(Exception):
    """The upstream closed its connection instead of answering."""


class Answering:
    """The answer to one request."""

    def __init__(self, client: Peer, *, is_head: bool = False) -> None:
        self.status: int | None = None
        """What the client was sent; None as long as there is no answer."""
        self._client = client
        self._is_head = is_head
        self._trailers: list[Header] = []

    async def pass_on(self, upstream: Peer, passage: Passage | None) -> None:
        """The upstream's answer, through the changes that faults make of it. Raises ClosedError."""
        answer = await self._head_of(upstream)
        has_body = not self._is_head and answer.status_code not in (204, 304)
        if passage is not None and passage.answer_changes and has_body:
            head = AnswerHead(answer.status_code, answer.reason, Headers(list(answer.headers.raw_items())))
            await self._send(head, self._pieces(upstream), passage)
        else:
            await self._pass_unchanged(upstream, answer)

    async def send_own(self, own: OwnAnswer, passage: Passage) -> None:
        """What a fault answers, through the changes that the others make."""
        own.goes_out()
        head = AnswerHead(own.status, _reason(own.status), Headers(self._own_headers(own.headers, own.body)))
        if self._is_head:
            self._write_own(own.status, head.headers.items, b"")
            await self._client.drain()
        else:
            await self._send(head, chained(own.body), passage)

    async def tell(self, status: int, message: str) -> None:
        """An error of the hop's own, if an answer can still be given."""
        if self._client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = {"error": {"message": f"fault proxy: {message}", "type": "fault_proxy_error", "code": status}}
        body = json.dumps(text, ensure_ascii=False).encode() + b"\n"
        headers = self._own_headers(((b"content-type", b"application/json"),), body)
        self._write_own(status, headers, b"" if self._is_head else body)
        await self._client.drain()

    async def _head_of(self, upstream: Peer) -> h11.Response:
        """The head of the answer; what is said before it, such as 100 Continue, is passed on."""
        while True:
            event = await upstream.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise ClosedError
            if not self._speaks_1_0:
                self._client.write(self._client.encode(_as_1_1(event)))
                await self._client.drain()

    async def _pass_unchanged(self, upstream: Peer, answer: h11.Response) -> None:
        """The answer as it came, what is here in one write."""
        client = self._client
        out = [self._head_bytes(answer)]
        is_over = False
        while not is_over:
            try:
                while not is_over and len(out) < EVENTS_AT_ONCE:
                    event = upstream.poll()
                    if event is h11.NEED_DATA:
                        break
                    if isinstance(event, h11.EndOfMessage):
                        is_over = True
                        out.append(self._end_bytes(list(event.headers.raw_items())))
                    else:
                        assert isinstance(event, h11.Data)
                        out.append(client.encode(event))
            finally:  # also what came before the upstream broke off
                client.write(b"".join(out))
                out.clear()
            await client.drain()
            if not is_over:
                await upstream.wait()

    async def _pieces(self, upstream: Peer) -> AsyncIterator[bytes]:
        """The body of the answer as it comes."""
        while True:
            event = await upstream.next_event()
            if not isinstance(event, h11.Data):
                if isinstance(event, h11.EndOfMessage):
                    self._trailers = list(event.headers.raw_items())
                return
            yield bytes(event.data)

    async def _send(self, head: AnswerHead, body: Body, passage: Passage) -> None:
        """An answer through the changes that faults make of it."""
        client = self._client
        for change in passage.answer_changes:
            body = await change(head, body)
        answer = h11.Response(status_code=head.status, reason=head.reason, headers=head.headers.items)
        client.write(self._head_bytes(answer))
        async for piece in body:
            client.write(client.encode(h11.Data(data=piece)))
            await client.drain()
        client.write(self._end_bytes(self._trailers if head.headers.get(b"content-length") is None else []))
        await client.drain()

    def _head_bytes(self, answer: h11.Response) -> bytes:
        """The head as it goes to the client.

        h11 spells the framing anew, and gives HEAD's a framing that it did not have; what it does not
        need to add is left as it came.
        """
        self.status = answer.status_code
        head = self._client.encode(_as_1_1(answer))
        if any(name == b"transfer-encoding" for name, _ in answer.headers):
            as_came = _spelled(answer)
            return as_came if len(as_came) == len(head) else head
        if self._is_head:
            return head.replace(_TRANSFER_ENCODING, b"", 1)
        return head

    def _end_bytes(self, trailers: list[Header]) -> bytes:
        """The end of the answer's body; a client of HTTP/1.0 knows no trailers."""
        if self._is_head or self._speaks_1_0:
            trailers = []
        return self._client.encode(h11.EndOfMessage(headers=trailers))

    @property
    def _speaks_1_0(self) -> bool:
        return (self._client.http.their_http_version or b"1.0") < b"1.1"

    def _own_headers(self, more: tuple[Header, ...], body: bytes) -> list[Header]:
        headers = [_SERVER, *more, (b"content-length", str(len(body)).encode())]
        if self._client.http.their_state in (h11.SEND_BODY, h11.ERROR):
            headers.append((b"connection", b"close"))  # what it still sends is not read
        return headers

    def _write_own(self, status: int, headers: list[Header], body: bytes) -> None:
        client = self._client
        self.status = status
        out = [client.encode(h11.Response(status_code=status, reason=_reason(status), headers=headers))]
        if body:
            out.append(client.encode(h11.Data(data=body)))
        out.append(client.encode(h11.EndOfMessage()))
        client.write(b"".join(out))


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def _as_1_1(
    answer: h11.Response | h11.InformationalResponse,
) -> h11.Response | h11.InformationalResponse:
    if answer.http_version == b"1.1":
        return answer
    return type(answer)(status_code=answer.status_code, reason=answer.reason, headers=answer.headers)


def _spelled(answer: h11.Response) -> bytes:
    fields = [b"%s: %s\r\n" % item for item in answer.headers.raw_items()]
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (answer.status_code, answer.reason, b"".join(fields))
