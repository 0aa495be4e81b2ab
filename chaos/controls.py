"""The door through which every fault acts: bytes, requests and processes, each behind a face of its own.

A fault takes what it needs from here and nothing else, so a test hands it a stand-in for one of the three,
and a stack says in one place what can be done to it: a proxy of somebody else has no faults on requests, a
container no process that a signal could reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chaos.builtin_proxy import BuiltinProxy
from chaos.processes import Processes
from chaos.stack import Stack
from chaos.stack.local import LocalStack
from chaos.toxiproxy import Toxiproxy


@dataclass(frozen=True, slots=True)
class Controls:
    """Where the faults of one run can act.

    `requests` is the built-in proxy's own calls, or nothing where bytes alone can be touched.
    """

    proxy: Toxiproxy
    requests: BuiltinProxy | None = None
    processes: Processes = field(default_factory=Processes)


def controls_of(stack: Stack) -> Controls:
    """What can be done to a stack that is up."""
    own = stack if isinstance(stack, LocalStack) else None
    processes = Processes(own, why=f"the parts of a {stack.description.kind} stack run in containers")
    return Controls(Toxiproxy(stack.proxy_api), processes=processes)
