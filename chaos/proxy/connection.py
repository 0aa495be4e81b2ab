"""One client's connection through a proxy: two ends, a link each way, and what becomes of them.

Here is when the upstream is dialled, what the end of one side means for the other, and what is told of the
toxics once the connection is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from chaos.control.fault_proxy import Toxic
from chaos.proxy.addresses import AddressError
from chaos.proxy.end import End
from chaos.proxy.evidence import Evidence, Strike
from chaos.proxy.link import Link
from chaos.proxy.toxics import Held, Stage

DIAL_TIMEOUT_S = 30.0
"""As long as most HTTP clients wait; Toxiproxy has no limit, and one dial there blocks all others."""

Dial = Callable[[asyncio.AbstractEventLoop, "Callable[[], End]"], Awaitable[object]]
"""Connects a protocol to the upstream."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Common:
    """What all connections of a server share."""

    rng: random.Random
    evidence: Evidence
    held: Held


class Connection:
    """A client, its upstream, and the links between them."""

    __slots__ = (
        "_common",
        "_dial",
        "_is_gone",
        "_is_joined",
        "_loop",
        "_on_gone",
        "_proxy",
        "_started_s",
        "_strikes",
        "_unix_offset_s",
        "client",
        "downstream",
        "ends_with_reset",
        "number",
        "over",
        "upstream",
        "upstream_link",
    )

    def __init__(
        self,
        proxy: str,
        toxics: Iterable[Toxic],
        loop: asyncio.AbstractEventLoop,
        common: Common,
        on_gone: Callable[[Connection], None],
    ) -> None:
        self.number = common.evidence.next_connection()
        self.over = False
        self.ends_with_reset = False
        """A toxic cut it, and both sides are to see a TCP reset."""
        self._is_gone = False
        self._is_joined = False
        self._proxy = proxy
        self._common = common
        self._loop = loop
        self._on_gone = on_gone
        self._started_s = loop.time()
        self._unix_offset_s = common.evidence.now_s() - self._started_s
        self._strikes: list[Strike] = []
        self._dial: asyncio.Task[None] | None = None
        self.client, self.upstream = End(self), End(self)
        self.upstream_link = Link(self, self.client, self.upstream, loop, common.rng, common.held)
        self.downstream = Link(self, self.upstream, self.client, loop, common.rng, common.held)
        self.client.outgoing = self.upstream.incoming = self.upstream_link
        self.client.incoming = self.upstream.outgoing = self.downstream
        known = list(toxics)
        order = [toxic.name for toxic in known]
        for toxic in known:
            self.link(toxic.stream).put_toxic(toxic, order)

    def link(self, stream: str) -> Link:
        """The direction that a toxic's `stream` names."""
        return self.downstream if stream.lower() == "downstream" else self.upstream_link

    def open(self, accepted: socket.socket, dial: Dial) -> None:
        """Take the client's socket and connect to the upstream, without holding up anybody else."""
        self._dial = self._loop.create_task(self._connect(accepted, dial))

    async def _connect(self, accepted: socket.socket, dial: Dial) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self.client, accepted)
        except OSError:
            accepted.close()
            self._gone()
            return
        self._is_joined = True
        if self.over:
            self.upstream.lost = True
            self.client.abort()
            return
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await dial(self._loop, lambda: self.upstream)
        except asyncio.CancelledError:  # uvloop does not tell of the loss of what it has just connected
            self.upstream.lost = True
            if self.client.lost:
                self._gone()
            raise
        except (AddressError, OSError, TimeoutError, ValueError, OverflowError) as error:
            _log.info("proxy %s cannot reach its upstream: %s", self._proxy, error or "no answer in time")
            self.upstream.lost = True
            self.upstream_link.discard()
            self.client.close()

    def struck(self) -> set[str]:
        """The types of toxics that struck it and are in no record yet."""
        stages = (*self.upstream_link.stages, *self.downstream.stages)
        now = {stage.type for stage in stages if stage.first_s is not None}
        return now | {strike.type for strike in self._strikes}

    def toxic_left(self, stage: Stage) -> None:
        """A toxic left while the connection lives on: what it did is told now."""
        if (strike := self._strike_of(stage)) is not None:
            self._record([strike])

    def toxic_over(self, stage: Stage) -> None:
        """A toxic is over with the connection's direction: what it did is told with the rest."""
        if (strike := self._strike_of(stage)) is not None:
            self._strikes.append(strike)

    def end_ready(self, end: End) -> None:
        """A socket is connected: data for it can flow, also what came before."""
        assert end.transport is not None
        if self.over and end is self.client:
            return  # dropped once it is joined: uvloop does not tell of its loss before
        if self.over or (self.client.lost and end is self.upstream):
            end.abort()
            return
        if end is self.upstream:
            assert self.client.transport is not None  # it came first
            self.downstream.open(self.client.transport.write)
            self.upstream_link.open(end.transport.write)

    def end_with_reset(self) -> None:
        """When the upstream ends, the client is to see a TCP reset, after all that was sent to it."""
        self.client.resets_when_sent = True

    def link_ended(self, link: Link) -> None:
        """All that one source sent has been handed over: pass the end on, or be done."""
        if self.ends_with_reset and link.is_cut:
            self.reset()
        elif link.sink.resets_when_sent or (self.upstream_link.ended and self.downstream.ended):
            self.close()
        elif link.is_cut:
            link.sink.close()
            link.sink.outgoing.receive_end()  # nothing more is read from it
        else:
            link.sink.finish()

    def end_lost(self, end: End) -> None:
        """A socket is gone: nothing can be written to it, and what it sent flows out first."""
        end.incoming.discard()
        other = end.outgoing.sink
        if other.lost:
            self._gone()
        elif end.outgoing.ended:
            self.close()
        else:
            end.outgoing.receive_end()
        if other.transport is None:  # the upstream's, which is not reached yet or never will be
            if self._dial is not None:
                self._dial.cancel()
            self._gone()

    def close(self) -> None:
        """Close both sockets once what was written is sent."""
        self.over = True
        self.upstream_link.discard()
        self.downstream.discard()
        self.client.close()
        self.upstream.close()

    def reset(self) -> None:
        """Close both sockets with a TCP reset."""
        self._drop(with_reset=True)

    def abort(self, because: str = "") -> None:
        """Close both sockets at once; what was not sent is lost. `because` makes a fault of it, `down`."""
        if because and not self.over:
            now_s = self._unix_s(self._loop.time())
            self._strikes.append(Strike("down", "down", note=because, first_s=now_s, last_s=now_s))
        self._drop(with_reset=False)

    def _drop(self, with_reset: bool) -> None:
        self.over = True
        self.upstream_link.discard()
        self.downstream.discard()
        if not self._is_joined:
            return  # it is being accepted, and dropped once it is
        if self._dial is not None:
            self._dial.cancel()
        self.client.abort(with_reset)
        self.upstream.abort(with_reset)

    def _gone(self) -> None:
        """Both sockets are."""
        if self._is_gone:
            return
        self._is_gone = self.over = True
        self.upstream_link.discard()
        self.downstream.discard()
        self._record(self._strikes)
        self._on_gone(self)

    def _strike_of(self, stage: Stage) -> Strike | None:
        if stage.first_s is None:
            return None
        first_s, last_s = self._unix_s(stage.first_s), self._unix_s(stage.last_s)
        return Strike(
            stage.name, stage.type, round(stage.delay_s, 6), stage.struck_bytes, stage.note, first_s, last_s
        )

    def _record(self, strikes: Sequence[Strike]) -> None:
        if strikes:
            self._common.evidence.record(
                proxy=self._proxy,
                connection=self.number,
                at_s=self._unix_s(self._started_s),
                end_s=self._unix_s(self._loop.time()),
                faults=strikes,
            )

    def _unix_s(self, loop_s: float) -> float:
        """One offset for all times of a connection, so that they stay in order."""
        return loop_s + self._unix_offset_s
