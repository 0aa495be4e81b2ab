"""Reset: the dependency's connections break with a TCP reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from chaos.faults.fault import ToxicFault
from chaos.faults.quantities import DurationOrNone, milliseconds


class Reset(ToxicFault):
    """A crash in mid-answer: when the answer starts, it is dropped and the connection reset.

    `after` waits that long first. Connections open before the fault see a clean close instead of a
    reset on Toxiproxy. Look for retries of calls that are not safe to repeat, and for half-read
    answers taken as whole.

        crashing-llm: {on: llm, kind: reset, after: 500ms}

    Looks like: "connection reset by peer" where an answer was due.
    Bit when: four in five calls of the dependency end in an error.
    Undone: the toxic is removed; connections made after that are whole.
    """

    toxic_type = "reset_peer"

    kind: Literal["reset"] = "reset"
    after: DurationOrNone = Field(0.0, description="from the first bytes to the reset; up to 10 min")

    def attributes(self) -> dict[str, int]:
        return {"timeout": milliseconds(self.after)}

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "errors": True}

    def parameters(self) -> dict[str, float | int | str]:
        return {"after_s": self.after, "stream": self.stream}
