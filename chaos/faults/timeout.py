"""Timeout: the dependency takes connections and never answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from chaos.faults.fault import ToxicFault
from chaos.faults.quantities import DurationOrNone, milliseconds


class Timeout(ToxicFault):
    """A black hole: connections open, nothing comes back. `timeout: 0s` lasts until the fault ends.

    With `timeout` above zero, a connection on which nothing arrived for that long is closed. Removing
    the fault closes every connection of that direction, so pools start afresh: recovery includes that.
    Look for calls without a deadline of their own; this is what they hang on.

        silent-llm: {on: llm, kind: timeout}

    Looks like: silence, until the caller's own timeout.
    Bit when: four in five calls of the dependency end in an error.
    Undone: the toxic is removed, and with it every connection that was silenced.
    """

    toxic_type = "timeout"

    kind: Literal["timeout"] = "timeout"
    timeout: DurationOrNone = Field(0.0, description="close after this much silence; 0s never; up to 10 min")

    def attributes(self) -> dict[str, int]:
        return {"timeout": milliseconds(self.timeout)}

    def expects(self) -> Mapping[str, Any] | None:
        return {"segment": self.segment, "errors": True}

    def parameters(self) -> dict[str, float | int | str]:
        return {"timeout_s": self.timeout, "stream": self.stream}
