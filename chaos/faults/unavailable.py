"""Unavailable: the model server says 503."""

from __future__ import annotations

from typing import ClassVar, Literal

from chaos.faults.answer_fault import TimedRefusal


class Unavailable(TimedRefusal):
    """503 instead of an answer: a plain failure, or pushback where `retry_after` says when to come back.

    Look for what users get while no answer of the model is to be had, and for retries that multiply the load.

        no-model: {on: llm, kind: unavailable}

    Looks like: a failure at once.
    Bit when: the simulator, or the proxy before another model server, counts at least three requests that
    met it.
    Undone: it is removed; the next request is answered.
    """

    status: ClassVar[int] = 503
    error_type: ClassVar[str] = "Service Unavailable"
    message: ClassVar[str] = "The service is temporarily unavailable."

    kind: Literal["unavailable"] = "unavailable"
