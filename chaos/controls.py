"""The door through which every fault acts: bytes, requests and processes, each behind a face of its own.

A fault takes what it needs from here and nothing else, so a test hands it a stand-in for one of the three,
and a stack says in one place what can be done to it: a proxy of somebody else has no faults on requests, a
container no process that a signal could reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chaos.processes import NoProcesses, Processes
from chaos.stack import Stack
from chaos.toxiproxy import Toxiproxy


@dataclass(frozen=True, slots=True)
class Controls:
    """Where the faults of one run can act.

    `requests` is the built-in proxy's own calls, or nothing where bytes alone can be touched.
    """

    proxy: Toxiproxy
    requests: Any = None
    processes: Processes = field(default_factory=NoProcesses)


def controls_of(stack: Stack) -> Controls:
    """What can be done to a stack that is up."""
    return Controls(Toxiproxy(stack.proxy_api))
