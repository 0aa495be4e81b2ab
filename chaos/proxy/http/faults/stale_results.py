"""stale_results: an earlier answer again, as a replica sends it that lags behind.

Every answer that matches is read and kept. A request that is struck is answered by the upstream, but its
client gets the body that the same method and path had `behind` answers ago. Until there are as many, answers
pass.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault, Parameter
from chaos.proxy.http.passage import AnswerHead

_MAX_BEHIND = 100
_ROOM_BYTES = 16 * 1024 * 1024
"""Of all answers kept; beyond it, the path that was quiet for longest is forgotten."""
_COST_BYTES = 2048
"""What keeping an answer takes besides its body: many paths with short answers have a bound, too."""


@dataclass(frozen=True, slots=True)
class _Kept:
    status: int
    reason: bytes
    body: bytes

    @property
    def size(self) -> int:
        return len(self.body) + _COST_BYTES


class StaleResults(HttpFault):
    """The JSON answer of `behind` answers ago on the same method and path."""

    type = "stale_results"
    parameters = (Parameter("behind", int, 1, 1, _MAX_BEHIND),)

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self._kept: OrderedDict[tuple[str, str], deque[_Kept]] = OrderedDict()
        self._kept_bytes = 0

    def watch(self, exchange: Exchange) -> None:
        key = exchange.request.method, exchange.request.path

        def keep(head: AnswerHead, body: bytes) -> None:
            if head.status < 300:
                self._keep(key, _Kept(head.status, head.reason, body))

        exchange.change_json(keep)

    def apply(self, exchange: Exchange) -> None:
        key = exchange.request.method, exchange.request.path
        behind = self.attributes["behind"]

        def stale(head: AnswerHead, body: bytes) -> bytes | None:
            kept = self._kept.get(key, deque())
            if head.status >= 300 or len(kept) <= behind:  # the last one kept is this answer
                return None
            old = kept[-1 - behind]
            if (old.status, old.body) == (head.status, body):
                return None  # nothing has changed since
            head.status, head.reason = old.status, old.reason
            exchange.strike(f"the answer of {behind} before", size=len(body))
            return old.body

        exchange.change_json(stale)

    def _keep(self, key: tuple[str, str], answer: _Kept) -> None:
        kept = self._kept.setdefault(key, deque())
        self._kept.move_to_end(key)
        kept.append(answer)
        self._kept_bytes += answer.size
        if len(kept) > self.attributes["behind"] + 1:
            self._kept_bytes -= kept.popleft().size
        while self._kept_bytes > _ROOM_BYTES and self._kept:
            _, forgotten = self._kept.popitem(last=False)
            self._kept_bytes -= sum(each.size for each in forgotten)
