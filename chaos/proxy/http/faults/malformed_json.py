"""malformed_json: an answer is framed well and its JSON is broken, as a crashing serializer leaves it."""

from __future__ import annotations

import random

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault, Parameter
from chaos.proxy.http.json_body import is_json
from chaos.proxy.http.passage import AnswerHead

_NOISE = b'{}[]",:'
_NOISE_BYTES = 8


class MalformedJson(HttpFault):
    """The body is cut in the middle, or has noise there; the content length is that of what is sent."""

    type = "malformed_json"
    parameters = (Parameter("how", str, "cut", choices=("cut", "garbled")),)

    def apply(self, exchange: Exchange) -> None:
        def spoil(_: AnswerHead, body: bytes) -> bytes:
            if self.attributes["how"] == "cut":
                spoilt = _cut(body)
                exchange.strike("cut in the middle", size=len(body) - len(spoilt))
                return spoilt
            exchange.strike("garbled in the middle", size=min(_NOISE_BYTES, len(body)))
            return _garbled(body, exchange.rng)

        exchange.change_json(spoil)


def _cut(body: bytes) -> bytes:
    half = body[: len(body) // 2]
    return b"{" if is_json(half) else half


def _garbled(body: bytes, rng: random.Random) -> bytes:
    start = max(0, len(body) // 2 - _NOISE_BYTES // 2)
    size = min(_NOISE_BYTES, len(body) - start)
    noise = bytes(rng.choice(_NOISE) for _ in range(size))
    garbled = body[:start] + noise + body[start + size :]
    return b"}" * len(body) if is_json(garbled) else garbled
