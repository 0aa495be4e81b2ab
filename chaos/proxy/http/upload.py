"""A request's way to the upstream: as it came, or with what a fault made of it.

The body goes up while the answer may already come down, so the rest of it has a task of its own. What the hop
does not pass on it takes and drops: a client that is still sending would lose its answer to a reset.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import h11

from chaos.proxy.http.exchange import take_whole
from chaos.proxy.http.passage import MAX_WHOLE_BYTES, Headers, Passage, RequestHead
from chaos.proxy.http.peer import EVENTS_AT_ONCE, Peer


class BadRequestError(Exception):
    """The client's request is not HTTP/1.1 as h11 takes it, or asks for what the hop cannot do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Upload:
    """One request on its way to the upstream."""

    def __init__(self, client: Peer, upstream: Peer, host: str) -> None:
        self._client = client
        self._upstream = upstream
        self._host = host
        self._rest: asyncio.Task[None] | None = None
        self._awaits_100 = False
        """Whether the client sends its body only when it is told to."""

    async def begin(self, request: h11.Request, head: RequestHead, passage: Passage | None) -> None:
        """Send the head and what has come of the body; the rest follows by itself. Raises BadRequestError."""
        self._awaits_100 = self._client.http.they_are_waiting_for_100_continue
        offers_http_2 = any(name == b"upgrade" for name, _ in request.headers)  # others are refused
        if offers_http_2:
            _stay_with_http_1(head.headers)
        if passage is not None:
            first = await self._changed(head, passage)
        elif request.http_version == b"1.1" and not offers_http_2:
            first = self._upstream.encode(request)
        else:
            first = self._upstream.encode(self._rebuilt(head))
        try:
            complete = self._pass_what_is_here(first)
        except h11.RemoteProtocolError as error:
            raise _bad_body(error) from None
        if not complete:
            self._rest = asyncio.create_task(self._pass_rest())

    async def finish(self) -> None:
        """The answer came first: let the rest go, too, so that both connections can go on, if they are to.

        Whoever waits for 100 Continue and is answered does not send its body.
        """
        rest, upstream = self._rest, self._upstream
        if (
            rest is None
            or self._awaits_100
            or upstream.http.their_state is not h11.DONE
            or upstream.has_ended
        ):
            return
        upstream.on_gone = self._stop
        try:
            await asyncio.wait([rest])
        finally:
            upstream.on_gone = None

    async def end(self) -> None:
        """What was not sent by now is not sent."""
        self._stop()
        if self._rest is not None:
            await asyncio.gather(self._rest, return_exceptions=True)

    def _stop(self) -> None:
        if self._rest is not None:
            self._rest.cancel()

    async def _changed(self, head: RequestHead, passage: Passage) -> bytes:
        """The head of a request that a fault struck, and its body if one changes it."""
        client, upstream = self._client, self._upstream
        if passage.reads_answer:
            head.headers.set(b"accept-encoding", b"identity")
        taken = b""
        if passage.request_changes:
            if client.http.they_are_waiting_for_100_continue:
                client.write(client.encode(h11.InformationalResponse(status_code=100, headers=[])))
            head.headers.remove(b"expect")
            taken, is_whole = await take_whole(body_of(client))
            changed = passage.change_request(taken) if is_whole else None
            if changed is not None:
                head.headers.set_length(len(changed))
                taken = changed
        out = [upstream.encode(self._rebuilt(head))]
        if taken:
            out.append(upstream.encode(h11.Data(data=taken)))
        if passage.request_changes and client.http.their_state is not h11.SEND_BODY:
            out.append(upstream.encode(h11.EndOfMessage()))
        return b"".join(out)

    def _rebuilt(self, head: RequestHead) -> h11.Request:
        """A request of HTTP/1.1 with this head, whatever it was before."""
        if head.headers.get(b"host") is None:
            head.headers.set(b"host", self._host.encode("latin-1", "replace"))
        return h11.Request(method=head.method, target=head.target, headers=head.headers.items)

    def _pass_what_is_here(self, first: bytes = b"") -> bool:
        """Pass on some of what has come of the body, after `first`; whether that was the end of it."""
        upstream = self._upstream
        out = [first]
        while upstream.http.our_state is h11.SEND_BODY and len(out) < EVENTS_AT_ONCE:
            event = self._client.poll()
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                break
            out.append(upstream.encode(event))
        upstream.write(b"".join(out))
        return upstream.http.our_state is not h11.SEND_BODY

    async def _pass_rest(self) -> None:
        try:
            while not self._pass_what_is_here():
                await self._upstream.drain()
                await self._client.wait()
        except h11.RemoteProtocolError as error:
            self._upstream.fail(_bad_body(error))
        except ConnectionError:
            pass  # the client is gone: the conversation's own task is being cancelled


async def body_of(client: Peer) -> AsyncIterator[bytes]:
    """The body of the client's request as it comes. Raises BadRequestError."""
    while True:
        try:
            event = await client.next_event()
        except h11.RemoteProtocolError as error:
            raise _bad_body(error) from None
        if not isinstance(event, h11.Data):
            return
        yield bytes(event.data)


async def drop_body(client: Peer) -> None:
    """Take what the client is sending, so that it reads its answer; there is an end to patience."""
    if client.http.they_are_waiting_for_100_continue:
        return
    size = 0
    async for piece in body_of(client):
        size += len(piece)
        if size > MAX_WHOLE_BYTES:
            return


def refuse_other_protocols(request: h11.Request) -> None:
    """No CONNECT, and no Upgrade but the offer of HTTP/2, which may be ignored. Raises BadRequestError."""
    advice = "send plain HTTP/1.1 requests, or make the proxy without http"
    if request.method == b"CONNECT":
        raise BadRequestError(501, f"CONNECT is not supported; {advice}")
    for name, value in request.headers:
        if name == b"upgrade" and value.strip().lower() != b"h2c":
            protocol = value.decode("latin-1")
            raise BadRequestError(501, f"Upgrade: {protocol} is not supported; {advice}")


def _stay_with_http_1(headers: Headers) -> None:
    """Leave out the offer of HTTP/2, as some clients make it with each first request (curl, Java's)."""
    named = (headers.get(b"connection") or b"").split(b",")
    kept = [
        name.strip() for name in named if name.strip().lower() not in (b"upgrade", b"http2-settings", b"")
    ]
    headers.remove(b"upgrade", b"http2-settings", b"connection")
    if kept:
        headers.set(b"connection", b", ".join(kept))


def _bad_body(error: h11.RemoteProtocolError) -> BadRequestError:
    return BadRequestError(error.error_status_hint, f"the request's body is not HTTP/1.1: {error}")
