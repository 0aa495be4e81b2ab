"""Malformed JSON: an answer that is framed well and cannot be read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.faults.request_fault import RequestFault


class MalformedJson(RequestFault):
    """The JSON is cut in the middle, or has noise there; its content length is right.

    What a serializer leaves that crashed, or a proxy that mixes answers up. Look for a parser's exception
    that reaches the user, and for a breaker that takes HTTP 200 for success.

        broken-json: {on: vector_db, kind: malformed_json, how: garbled}

    Looks like: HTTP 200 with a body that no parser takes.
    Bit when: the proxy counts at least three answers that it spoilt.
    Undone: it is removed; the next answer is whole.
    """

    kind: Literal["malformed_json"] = "malformed_json"
    how: Literal["cut", "garbled"] = Field("cut", description="cut or garbled")
