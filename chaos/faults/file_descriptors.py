"""File descriptors: a part can open no more files and sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from chaos.faults.process_fault import ProcessFault
from chaos.processes import ProcessFaultError, files

if TYPE_CHECKING:
    from chaos.control.controls import Controls

SPARE = 1
"""libuv holds one descriptor back, and gives it up for an instant to accept and drop a connection."""


class FileDescriptors(ProcessFault):
    """The part may open only `leave` files or sockets more than it has open now.

    What a leak of connections ends in. What is open stays open; the next `socket`, `accept` or `open` fails
    with "too many open files" (EMFILE). Look for a server that spins on `accept`, for health checks that fail
    while old connections work, and for a part that does not recover. Linux only: the limit of another process
    is set with prlimit, and the hard limit stays as it is. Callers that keep their connections open hardly
    feel it.

        leaking-service: {on: service, kind: file_descriptors, leave: 2}

    Looks like: new connections that are dropped at once (uvloop) or never answered (plain asyncio); calls
    that need a new socket fail.
    Bit when: none is free when the fault comes out (or one: uvloop keeps one back, to drop connections with).
    Undone: the soft limit is set to what it was, on the same process.
    """

    kind: Literal["file_descriptors"] = "file_descriptors"
    leave: int = Field(
        0, ge=0, le=1_000_000, strict=True, description="descriptors that it may still open; 0 to 1000000"
    )

    def check(self, at: Controls) -> None:
        own = at.processes.own_limit(self.on)
        free = files.free_below(files.open_numbers(own.process), own.soft)
        if own.soft >= 0 and self.leave >= free:
            raise ProcessFaultError(
                f"{self.on} has {free} descriptors left of {own.soft}, so leaving it {self.leave} "
                f"takes nothing away; ask for less"
            )

    def inject(self, at: Controls, name: str) -> None:  # noqa: ARG002 - a limit has no name
        part = at.processes.of(self.on)
        files.set_soft(part, files.limit_leaving(files.open_numbers(part), self.leave))

    def remove(self, at: Controls, name: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        if not at.processes.living(self.on):
            return None
        own = at.processes.own_limit(self.on)
        facts = self._facts(at)
        files.set_soft(own.process, own.soft)
        return {**facts, "bit": facts["free"] <= SPARE and facts["soft"] != own.soft}

    def read_back(self, at: Controls, name: str) -> Mapping[str, Any]:
        own, facts = at.processes.own_limit(self.on), self._facts(at)
        if facts["soft"] == own.soft:
            raise ProcessFaultError(f"{name}: {self.on} still has its own limit of {own.soft} open files")
        return facts

    def is_gone(self, at: Controls, name: str) -> bool:  # noqa: ARG002
        if not at.processes.living(self.on):
            return True
        own = at.processes.own_limit(self.on)
        now = files.limits(own.process)
        return now is None or now.soft == own.soft

    def undo(self, at: Controls, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        own = at.processes.own_limit(self.on)
        record = {
            "pid": own.process.pid,
            "created_s": own.process.created_s,
            "soft": own.soft,
            "hard": own.hard,
        }
        return {"do": "limit_files", "part": self.on, "processes": [record]}

    def parameters(self) -> dict[str, float | int | str]:
        return {"leave": self.leave}

    def _facts(self, at: Controls) -> dict[str, Any]:
        part = at.processes.of(self.on)
        now, numbers = files.limits(part), files.open_numbers(part)
        soft = now.soft if now else -1
        return {"pid": part.pid, "soft": soft, "open": len(numbers), "free": files.free_below(numbers, soft)}
