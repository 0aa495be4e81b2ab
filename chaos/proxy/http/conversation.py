"""One client's connection through a hop: its requests, one after the other, and their answers.

What no fault wants to change passes as it came: the head with its spelling, the body in the pieces and the
framing that it had. The upstream's way of ending is passed on, too: closed or reset, in mid-body or between
two requests. A client that closes its side has given up, as with most HTTP servers: the upstream's connection
is closed at once, so that a model server stops generating for nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11

from chaos.proxy.addresses import AddressError, parse_address
from chaos.proxy.evidence import Evidence
from chaos.proxy.http.exchange import take_whole
from chaos.proxy.http.fault_set import HttpFaults, Struck
from chaos.proxy.http.passage import (
    MAX_WHOLE_BYTES,
    AnswerHead,
    Body,
    CutError,
    Header,
    Headers,
    OwnAnswer,
    Passage,
    RequestHead,
)
from chaos.proxy.http.peer import Peer

_SERVER = (b"server", b"ragquake-fault-proxy")
_TRANSFER_ENCODING = b"Transfer-Encoding: chunked\r\n"  # as h11 writes it
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands: between which proxy's connection and which upstream."""

    proxy: str
    connection: int
    upstream: str
    faults: HttpFaults
    evidence: Evidence
    end_with_reset: Callable[[], None]
    """The client's connection is to end with a TCP reset, once it has all that was written."""
    dial_timeout_s: float


class UnreachableError(Exception):
    """Nobody can be reached at the upstream's address."""


class ClosedError(Exception):
    """The upstream closed its connection instead of answering."""


class BadRequestError(Exception):
    """The client's request is not HTTP/1.1 as h11 takes it, or asks for what the hop cannot do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Conversation:
    """A client, and the one upstream connection that serves it."""

    def __init__(self, client: Peer, place: Place) -> None:
        self._client = client
        self._place = place
        self._upstream: Peer | None = None
        self._task: asyncio.Task[None] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._requests = 0
        self._status: int | None = None
        self._is_head = False
        self._trailers: list[Header] = []

    async def run(self) -> None:
        """Serve requests until either side is gone."""
        client = self._client
        self._task = asyncio.current_task()
        try:
            while await self._serve_one():
                pass
            await self._close()
        except CutError as cut:
            if cut.with_reset:
                self._place.end_with_reset()
            client.close()
        except ConnectionError:  # the upstream's reset; the client's own cancels this task
            self._place.end_with_reset()
            client.close()
        except (ClosedError, h11.RemoteProtocolError):
            client.close()
        except asyncio.CancelledError:
            client.abort()
        except Exception:
            _log.exception("a request through proxy %s failed in the hop", self._place.proxy)
            client.abort()
        finally:
            self._drop_upstream()
            client.on_gone = self._task = None

    def _give_up(self) -> None:
        """The client is gone: end whatever is being done for it."""
        if self._task is not None:
            self._task.cancel()

    async def _serve_one(self) -> bool:
        """One request with its answer; whether another may follow."""
        request = await self._next_request()
        if request is None:
            return False
        self._status = None
        self._client.on_gone = self._give_up
        if self._client.has_ended:
            return False
        self._requests += 1
        head = RequestHead(
            request.method.decode("ascii"),
            request.target.decode("ascii"),
            Headers(list(request.headers.raw_items())),
        )
        struck = self._place.faults.begin(head)
        try:
            await self._answered(request, head, struck.passage if struck else None)
        finally:
            await self._end_upload()
            if struck is not None:
                self._record(struck)
        self._client.on_gone = None
        return self._next_cycle()

    async def _next_request(self) -> h11.Request | None:
        """The next request; None when the client, or meanwhile the upstream, has closed."""
        upstream = self._upstream
        if upstream is not None:
            if upstream.has_ended:
                return None
            upstream.on_gone = self._client.end
        self._is_head = False
        try:
            event = await self._client.next_event()
        except h11.RemoteProtocolError as error:
            if upstream is None or not upstream.has_ended:
                await self._tell(error.error_status_hint, f"the request is not HTTP/1.1: {error}")
            return None
        except ConnectionError:
            return None
        finally:
            if upstream is not None:
                upstream.on_gone = None
        if not isinstance(event, h11.Request):
            return None
        self._is_head = event.method == b"HEAD"
        return event

    async def _answered(self, request: h11.Request, head: RequestHead, passage: Passage | None) -> None:
        """Let the request be answered, by the upstream or in its place."""
        try:
            _refuse_other_protocols(request)
            if passage is not None and passage.own_answer is not None:
                await self._drop_request_body()
                await self._send_own(passage.own_answer, passage)
                return
            await self._connect()
            await self._pass_on(request, head, passage)
        except BadRequestError as error:
            await self._tell(error.status, str(error))
        except UnreachableError as error:
            await self._tell_unreachable(str(error))
        except h11.RemoteProtocolError as error:
            if self._status is not None:
                raise  # an answer that broke off: so does ours
            upstream = self._upstream
            if upstream is not None and upstream.has_ended and not upstream.http.trailing_data[0]:
                raise ClosedError from None
            self._drop_upstream()
            await self._tell(502, f"the answer of {self._place.upstream} is not HTTP/1.1: {error}")

    async def _tell_unreachable(self, message: str) -> None:
        try:
            await self._drop_request_body()
        except BadRequestError as error:
            await self._tell(error.status, str(error))
        else:
            await self._tell(502, message)

    async def _connect(self) -> None:
        """An upstream connection, the one there is or a new one."""
        if self._upstream is not None:
            return
        where = self._place.upstream
        try:
            address = parse_address(where)
            async with asyncio.timeout(self._place.dial_timeout_s):
                _, self._upstream = await asyncio.get_running_loop().create_connection(
                    lambda: Peer(h11.CLIENT), address.host or "localhost", address.port
                )
        except TimeoutError:
            limit_s = self._place.dial_timeout_s
            raise UnreachableError(f"the upstream {where} took no connection within {limit_s:g} s") from None
        except (OSError, AddressError, ValueError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UnreachableError(f"the upstream {where} cannot be reached: {why}") from None

    async def _pass_on(self, request: h11.Request, head: RequestHead, passage: Passage | None) -> None:
        """Send the request, and the answer back."""
        upstream = self._upstream
        assert upstream is not None
        if passage is None:
            first = upstream.encode(request if request.http_version == b"1.1" else self._rebuilt(head))
        else:
            first = await self._changed(upstream, head, passage)
        try:
            complete = self._upload_what_is_here(upstream, first)
        except h11.RemoteProtocolError as error:
            self._drop_upstream()
            raise _bad_body(error) from None
        if not complete:
            self._upload = asyncio.create_task(self._upload_rest(upstream))
        answer = await self._answer_head(upstream)
        self._status = answer.status_code
        has_body = not self._is_head and answer.status_code not in (204, 304)
        if passage is not None and passage.answer_changes and has_body:
            changed = AnswerHead(answer.status_code, answer.reason, Headers(list(answer.headers.raw_items())))
            await self._send_answer(changed, self._pieces(upstream), passage)
        else:
            await self._pass_answer(upstream, answer)

    async def _answer_head(self, upstream: Peer) -> h11.Response:
        """The head of the answer; what is said before it, such as 100 Continue, is passed on."""
        while True:
            event = await upstream.next_event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                if (self._client.http.their_http_version or b"1.0") >= b"1.1":
                    self._client.write(self._client.encode(_as_1_1(event)))
            else:
                raise ClosedError

    async def _pass_answer(self, upstream: Peer, answer: h11.Response) -> None:
        """The answer as it came, all that is here in one write."""
        client = self._client
        out = [self._head_bytes(answer)]
        while True:
            event = upstream.poll()
            if event is h11.NEED_DATA:
                client.write(b"".join(out))
                out.clear()
                await client.drain()
                await upstream.wait()
                continue
            if not isinstance(event, h11.Data):
                assert isinstance(event, h11.EndOfMessage)
                out.append(self._end_bytes(list(event.headers.raw_items())))
                break
            out.append(client.encode(event))
        client.write(b"".join(out))
        await client.drain()

    async def _pieces(self, upstream: Peer) -> AsyncIterator[bytes]:
        """The body of the answer as it comes."""
        while True:
            event = await upstream.next_event()
            if not isinstance(event, h11.Data):
                if isinstance(event, h11.EndOfMessage):
                    self._trailers = list(event.headers.raw_items())
                return
            yield bytes(event.data)

    async def _send_answer(self, head: AnswerHead, body: Body, passage: Passage) -> None:
        """An answer through the changes that faults make of it."""
        client = self._client
        self._trailers = []
        for change in passage.answer_changes:
            body = await change(head, body)
        self._status = head.status
        answer = h11.Response(status_code=head.status, reason=head.reason, headers=head.headers.items)
        client.write(self._head_bytes(answer))
        async for piece in body:
            client.write(client.encode(h11.Data(data=piece)))
            await client.drain()
        client.write(self._end_bytes(self._trailers if head.headers.get(b"content-length") is None else []))
        await client.drain()

    def _end_bytes(self, trailers: list[Header]) -> bytes:
        """The end of the answer's body; a client of HTTP/1.0 knows no trailers."""
        if trailers and (self._is_head or (self._client.http.their_http_version or b"1.0") < b"1.1"):
            trailers = []
        return self._client.encode(h11.EndOfMessage(headers=trailers))

    def _head_bytes(self, answer: h11.Response) -> bytes:
        """The head as it goes to the client.

        h11 spells the framing anew, and gives HEAD's a framing that it did not have; what it does not
        need to add is left as it came.
        """
        head = self._client.encode(_as_1_1(answer))
        if any(name == b"transfer-encoding" for name, _ in answer.headers):
            as_came = _spelled(answer)
            return as_came if len(as_came) == len(head) else head
        if self._is_head:
            return head.replace(_TRANSFER_ENCODING, b"", 1)
        return head

    async def _changed(self, upstream: Peer, head: RequestHead, passage: Passage) -> bytes:
        """The head of a request that a fault struck, and its body if one changes it."""
        if passage.reads_answer:
            head.headers.set(b"accept-encoding", b"identity")
        body: bytes | None = None
        pieces: list[bytes] = []
        if passage.request_changes:
            if self._client.http.they_are_waiting_for_100_continue:
                self._client.write(
                    self._client.encode(h11.InformationalResponse(status_code=100, headers=[]))
                )
            head.headers.remove(b"expect")
            pieces, is_whole = await take_whole(self._request_pieces())
            body = passage.change_request(b"".join(pieces)) if is_whole else None
        if body is not None:
            head.headers.set_length(len(body))
            pieces = [body]
        out = [upstream.encode(self._rebuilt(head))]
        out.extend(upstream.encode(h11.Data(data=piece)) for piece in pieces)
        if passage.request_changes and self._client.http.their_state is not h11.SEND_BODY:
            out.append(upstream.encode(h11.EndOfMessage()))
        return b"".join(out)

    def _rebuilt(self, head: RequestHead) -> h11.Request:
        """A request of HTTP/1.1 with this head, whatever it was before."""
        if head.headers.get(b"host") is None:
            head.headers.set(b"host", self._place.upstream.encode("latin-1", "replace"))
        return h11.Request(method=head.method, target=head.target, headers=head.headers.items)

    async def _request_pieces(self) -> AsyncIterator[bytes]:
        """The body of the request as it comes."""
        while True:
            try:
                event = await self._client.next_event()
            except h11.RemoteProtocolError as error:
                raise _bad_body(error) from None
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    def _upload_what_is_here(self, upstream: Peer, first: bytes = b"") -> bool:
        """Pass on what has come of the request's body, after `first`; whether that was all."""
        out = [first]
        while upstream.http.our_state is h11.SEND_BODY:
            event = self._client.poll()
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                break
            out.append(upstream.encode(event))
        upstream.write(b"".join(out))
        return upstream.http.our_state is not h11.SEND_BODY

    async def _upload_rest(self, upstream: Peer) -> None:
        """The same until the body is over, while the answer may already come."""
        try:
            while not self._upload_what_is_here(upstream):
                await upstream.drain()
                await self._client.wait()
        except h11.RemoteProtocolError as error:
            upstream.fail(_bad_body(error))
        except ConnectionError:
            pass  # the client is gone: the conversation's own task is being cancelled

    async def _end_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)

    async def _drop_request_body(self) -> None:
        """Take what the client is sending, so that it reads its answer; there is an end to patience."""
        if self._client.http.they_are_waiting_for_100_continue:
            return
        size = 0
        async for piece in self._request_pieces():
            size += len(piece)
            if size > MAX_WHOLE_BYTES:
                return

    async def _send_own(self, own: OwnAnswer, passage: Passage) -> None:
        """What a fault answers, through the changes that the others make."""
        head = AnswerHead(own.status, _reason(own.status), Headers(self._own_headers(own.headers, own.body)))
        if self._is_head:
            self._write_own(own.status, head.headers.items, b"")
            await self._client.drain()
        else:
            await self._send_answer(head, _one_piece(own.body), passage)

    async def _tell(self, status: int, message: str) -> None:
        """An error of the hop's own, if an answer can still be given."""
        if self._client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = {"error": {"message": f"fault proxy: {message}", "type": "fault_proxy_error", "code": status}}
        body = json.dumps(text, ensure_ascii=False).encode() + b"\n"
        headers = self._own_headers(((b"content-type", b"application/json"),), body)
        self._write_own(status, headers, b"" if self._is_head else body)
        await self._client.drain()

    def _own_headers(self, more: tuple[Header, ...], body: bytes) -> list[Header]:
        headers = [_SERVER, *more, (b"content-length", str(len(body)).encode())]
        if self._client.http.their_state in (h11.SEND_BODY, h11.ERROR):
            headers.append((b"connection", b"close"))  # what it still sends is not read
        return headers

    def _write_own(self, status: int, headers: list[Header], body: bytes) -> None:
        client = self._client
        self._status = status
        out = [client.encode(h11.Response(status_code=status, reason=_reason(status), headers=headers))]
        if body:
            out.append(client.encode(h11.Data(data=body)))
        out.append(client.encode(h11.EndOfMessage()))
        client.write(b"".join(out))

    def _next_cycle(self) -> bool:
        """Make ready for another request where both ends are; whether the client is."""
        upstream = self._upstream
        if upstream is not None:
            if upstream.http.our_state is h11.DONE and upstream.http.their_state is h11.DONE:
                upstream.http.start_next_cycle()
            else:
                self._drop_upstream()
        client = self._client.http
        if client.our_state is h11.DONE and client.their_state is h11.DONE:
            client.start_next_cycle()
            return True
        return False

    async def _close(self) -> None:
        """Close the client's connection; if it is still sending, so that it can read its answer."""
        self._drop_upstream()
        self._client.on_gone = None
        if self._client.has_ended or self._client.http.their_state in (h11.DONE, h11.MUST_CLOSE, h11.IDLE):
            self._client.close()
        else:
            await self._client.finish()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.on_gone = None
            upstream.abort()

    def _record(self, struck: Struck) -> None:
        """What the faults did, for the evidence; nothing when they did nothing."""
        struck.end()
        strikes = struck.passage.strikes()
        if not strikes:
            return
        place, request = self._place, struck.passage.request
        place.evidence.record(
            proxy=place.proxy,
            connection=place.connection,
            request=self._requests,
            at_s=struck.at_s,
            method=request.method,
            path=request.path,
            status=self._status,
            trace_id=request.trace_id,
            faults=strikes,
        )


def _refuse_other_protocols(request: h11.Request) -> None:
    """No CONNECT and no Upgrade. Raises BadRequestError."""
    advice = "send plain HTTP/1.1 requests, or make the proxy without http"
    if request.method == b"CONNECT":
        raise BadRequestError(501, f"CONNECT is not supported; {advice}")
    for name, value in request.headers:
        if name == b"upgrade":
            protocol = value.decode("latin-1")
            raise BadRequestError(501, f"Upgrade: {protocol} is not supported; {advice}")


def _bad_body(error: h11.RemoteProtocolError) -> BadRequestError:
    return BadRequestError(error.error_status_hint, f"the request's body is not HTTP/1.1: {error}")


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


async def _one_piece(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
