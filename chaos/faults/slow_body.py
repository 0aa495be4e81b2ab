"""Slow body: the head of an answer comes in time, its body does not."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from chaos.faults.quantities import DurationOrNone
from chaos.faults.request_fault import RequestFault


class SlowBody(RequestFault):
    """The body begins `delay` late, or comes at `bytes_per_s`, or both.

    A server that has begun to answer and then waits for its disk or for a lock. Look for a client whose
    timeout counts from byte to byte: it never runs into it, and its caller waits.

        slow-disk: {on: vector_db, kind: slow_body, delay: 2s}

    Looks like: HTTP 200 in time, and an answer that does not end.
    Bit when: the proxy counts at least three answers that it held up.
    Undone: it is removed; what it still holds goes out at once.
    """

    kind: Literal["slow_body"] = "slow_body"
    delay: DurationOrNone = Field(0.0, description="before the body; at most 10 min")
    bytes_per_s: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)] | None = Field(
        None, description="the body's pace; 1 to 1000000000"
    )

    @model_validator(mode="after")
    def _is_slow(self) -> Self:
        if not self.delay and self.bytes_per_s is None:
            raise ValueError("slow_body needs delay above 0, or bytes_per_s, or both; neither is given")
        return self

    def attributes(self) -> dict[str, Any]:
        paced = {} if self.bytes_per_s is None else {"bytes_per_s": float(self.bytes_per_s)}
        return {"delay_s": self.delay, **paced}
