"""http_error: an error status in the dependency's place, as a gateway or an overloaded server sends it."""

from __future__ import annotations

import json
import math

from chaos.proxy.http.exchange import Exchange
from chaos.proxy.http.faults.fault import MAX_DELAY_S, MAX_TEXT, HttpFault, Parameter
from chaos.proxy.http.json_body import is_json
from chaos.proxy.http.passage import Header


class HttpError(HttpFault):
    """Answers with `status`; the dependency is not asked.

    `retry_after_s` becomes `Retry-After` in whole seconds, rounded up. Without a `body` it is JSON with an
    `error`, in a shape that both OpenAI's and the vector DB's clients read.
    """

    type = "http_error"
    parameters = (
        Parameter("status", int, 503, 400, 599),
        Parameter("body", str, most=MAX_TEXT),
        Parameter("retry_after_s", float, None, 0.0, MAX_DELAY_S),
    )

    def apply(self, exchange: Exchange) -> None:
        status, text = self.attributes["status"], self.attributes["body"]
        if text is None:
            message = f"injected by the fault proxy: HTTP {status}"
            text = json.dumps({"error": {"message": message, "type": "injected_fault", "code": status}})
        body = text.encode()
        media_type = b"application/json" if is_json(text) else b"text/plain; charset=utf-8"
        headers: list[Header] = [(b"content-type", media_type)]
        retry_after_s = self.attributes["retry_after_s"]
        if retry_after_s is not None:
            headers.append((b"retry-after", str(math.ceil(retry_after_s)).encode()))
        exchange.answer(status, tuple(headers), body, f"HTTP {status}")
