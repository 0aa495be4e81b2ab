"""One client's connection through a hop: its requests, one after the other, and how it ends.

The upstream's way of ending is passed on: closed or reset, in mid-body or between two requests. A client that
closes its side has given up, as with most HTTP servers: the upstream's connection is closed at once, so that
a model server stops generating for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import h11

from chaos.proxy.addresses import AddressError, parse_address
from chaos.proxy.evidence import Evidence
from chaos.proxy.http.answering import Answering, ClosedError
from chaos.proxy.http.fault_set import HttpFaults, Struck
from chaos.proxy.http.passage import CutError, Headers, Passage, RequestHead
from chaos.proxy.http.peer import Peer
from chaos.proxy.http.upload import BadRequestError, Upload, drop_body, refuse_other_protocols

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


class Conversation:
    """A client, and the one upstream connection that serves it."""

    def __init__(self, client: Peer, place: Place) -> None:
        self._client = client
        self._place = place
        self._upstream: Peer | None = None
        self._upload: Upload | None = None
        self._task: asyncio.Task[None] | None = None
        self._requests = 0

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
        self._client.on_gone = self._give_up
        if self._client.has_ended:
            return False
        self._requests += 1
        head = RequestHead(
            request.method.decode("ascii"),
            request.target.decode("ascii"),
            Headers(list(request.headers.raw_items())),
        )
        answering = Answering(self._client, is_head=request.method == b"HEAD")
        struck = self._place.faults.begin(head)
        try:
            await self._answer(request, head, struck.passage if struck else None, answering)
        finally:
            if struck is not None:
                self._record(struck, answering.status)
            await self._end_upload()
        self._client.on_gone = None
        return self._next_cycle()

    async def _next_request(self) -> h11.Request | None:
        """The next request; None when the client, or meanwhile the upstream, has closed."""
        upstream = self._upstream
        if upstream is not None:
            if upstream.has_ended:
                return None
            upstream.on_gone = self._client.end
        try:
            event = await self._client.next_event()
        except h11.RemoteProtocolError as error:
            if upstream is None or not upstream.has_ended:
                message = f"the request is not HTTP/1.1: {error}"
                await Answering(self._client).tell(error.error_status_hint, message)
            return None
        except ConnectionError:
            return None
        finally:
            if upstream is not None:
                upstream.on_gone = None
        return event if isinstance(event, h11.Request) else None

    async def _answer(
        self, request: h11.Request, head: RequestHead, passage: Passage | None, answering: Answering
    ) -> None:
        """Let the request be answered, by the upstream or in its place."""
        client, where = self._client, self._place.upstream
        try:
            refuse_other_protocols(request)
            if passage is not None and passage.own_answer is not None:
                await drop_body(client)
                await answering.send_own(passage.own_answer, passage)
                return
            upstream = await self._connected()
            self._upload = Upload(client, upstream, where)
            await self._upload.begin(request, head, passage)
            await answering.pass_on(upstream, passage)
            await self._upload.finish()
        except BadRequestError as error:
            self._drop_upstream()
            await answering.tell(error.status, str(error))
        except UnreachableError as unreachable:
            try:
                await drop_body(client)
            except BadRequestError as error:
                await answering.tell(error.status, str(error))
            else:
                await answering.tell(502, str(unreachable))
        except h11.RemoteProtocolError as error:
            if answering.status is not None:
                raise  # an answer that broke off: so does ours
            if self._upstream is not None and self._upstream.closed_in_silence:
                raise ClosedError from None
            self._drop_upstream()
            await answering.tell(502, f"the answer of {where} is not HTTP/1.1: {error}")

    async def _connected(self) -> Peer:
        """An upstream connection, the one there is or a new one. Raises UnreachableError."""
        if self._upstream is not None:
            return self._upstream
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
        return self._upstream

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

    async def _end_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            await upload.end()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.on_gone = None
            upstream.abort()

    def _record(self, struck: Struck, status: int | None) -> None:
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
            status=status,
            trace_id=request.trace_id,
            faults=strikes,
        )
