"""wrong_dimension: query vectors shorter than the collection's, after a mix-up of embedding models.

The vector DB refuses them with 422 `wrong_dimension`; what matters is what the service makes of that.
"""

from __future__ import annotations

import json
from typing import Any

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import HttpFault, Parameter
from chaos.proxy.http.json_body import written


class WrongDimension(HttpFault):
    """Each vector of the request loses its second half."""

    type = "wrong_dimension"
    parameters = (Parameter("key", str, "vectors", most=200),)

    def apply(self, exchange: Exchange) -> None:
        key = self.attributes["key"]

        def halve(body: bytes) -> bytes | None:
            try:
                asked = json.loads(body)
            except (ValueError, RecursionError):
                return None
            vectors: Any = asked.get(key) if isinstance(asked, dict) else None
            halved = _halved(vectors)
            if halved is None:
                return None
            changed = written({**asked, key: halved})
            size = len(vectors if _is_vector(vectors) else vectors[0])
            note = f"vectors of {size} numbers cut to {size // 2}"
            exchange.strike(note, size=max(0, len(body) - len(changed)))
            return changed

        exchange.change_request(halve)


def _halved(value: Any) -> list[Any] | None:
    """A vector, or each of a list of vectors, without its second half; None when it is neither."""
    if _is_vector(value):
        return list(value[: len(value) // 2])
    if isinstance(value, list) and value and all(_is_vector(each) for each in value):
        return [each[: len(each) // 2] for each in value]
    return None


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    )
