"""A stack that stays: `ragquake up` starts it and leaves, `ragquake down` ends it.

It lives in `.ragquake/` (stack.json, logs/) instead of in a bundle and has neither runner nor warden,
since nobody's death is supposed to end it. What a person wants to know about it is one of four states:
down, up, half dead (some parts ended), dead (all ended, or the machine was restarted).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.stack.borrowed import delete_borrowed
from chaos.stack.description import FILE_NAME, StackDescription, read_description
from chaos.stack.errors import StackBusy, StackError
from chaos.stack.local import LocalStack
from chaos.stack.model_servers import ModelServer
from chaos.stack.part import STOP_GRACE_S
from chaos.stack.proxy_choice import ProxyChoice, choose_proxy
from chaos.stack.teardown import Teardown, stop_recorded

HOME = Path(".ragquake")

State = Literal["down", "up", "half dead", "dead"]


@dataclass(frozen=True, slots=True)
class StackState:
    """What is known about the stack that stays."""

    state: State
    stack_file: Path
    description: StackDescription | None = None
    ended: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The state in words, with what to do next."""
        if self.description is None:
            return "no stack is up; start one with: ragquake up"
        service = self.description.service
        where = service.url if service else "an unknown address"
        if self.state == "up":
            return f"the stack is up at {where} (described in {self.stack_file}); end it with: ragquake down"
        which = ", ".join(self.ended) or "everything"
        return (
            f"the stack at {where} is {self.state}: {which} ended; "
            f"logs are in {self.stack_file.parent / 'logs'}; "
            f"clear it away with `ragquake down`, then start anew with `ragquake up`"
        )


@dataclass(frozen=True, slots=True)
class Down:
    """What `down` found and stopped."""

    before: StackState
    teardown: Teardown

    def sentence(self) -> str:
        if self.before.state == "down" and not self.teardown.strays:
            return "no stack was up"
        stopped = ", ".join(self.teardown.stopped) or "nothing, all had ended before"
        strays = f" and {self.teardown.strays} processes beyond the record" if self.teardown.strays else ""
        return f"stopped {stopped}{strays}"


def state(home: Path = HOME) -> StackState:
    """Whether a stack stays up in this folder, by its record and its processes; nothing is touched."""
    stack_file = home.absolute() / FILE_NAME
    description = read_description(stack_file)
    if description is None:
        return StackState("down", stack_file)
    recorded, living = description.identities(), description.living()
    ended = tuple(sorted(set(recorded) - set(living)))
    if not living:
        return StackState("dead", stack_file, description, ended)
    whole = not ended and "service" in living
    return StackState("up" if whole else "half dead", stack_file, description, ended)


def up(
    home: Path = HOME,
    *,
    index_dir: Path | None = None,
    proxy: ProxyChoice | None = None,
    otlp_endpoint: str | None = None,
    service_settings: Mapping[str, str] | None = None,
    model_server: ModelServer | None = None,
    ports: Mapping[str, int] | None = None,
    on_progress: Callable[[str], None] = lambda _line: None,
) -> StackState:
    """Start a stack that stays when this process ends. Raises StackBusy when one is up or half dead.

    The index is HOME/index, the model server the simulator, and the proxy is chosen from the environment
    unless they are given. The
    leftovers of a dead stack (a restarted machine) are cleared away first.
    """
    before = state(home)
    if before.state in ("up", "half dead"):
        raise StackBusy(before.sentence())
    if before.state == "dead":
        down(home)
    stack = LocalStack(
        folder=home,
        index_dir=index_dir or home / "index",
        proxy=proxy or choose_proxy(os.environ, home),
        otlp_endpoint=otlp_endpoint,
        service_settings=service_settings,
        model_server=model_server,
        ports=ports,
        home=home,
        on_progress=on_progress,
    )
    try:
        stack.start()
    except BaseException:
        stack.stack_file.unlink(missing_ok=True)
        raise
    return state(home)


def down(home: Path = HOME, grace_s: float = STOP_GRACE_S) -> Down:
    """Stop the stack that stays, whole or not, and forget it; without one, nothing happens.

    Raises StackError when a part survived, chaos.control.fault_proxy.FaultProxyError when our proxies on
    somebody else's Toxiproxy could not be deleted (the processes are stopped then, the record is kept).
    """
    before = state(home)
    teardown = stop_recorded(before.stack_file, before.description, grace_s=grace_s)
    survivors = before.description.living() if before.description else {}
    if survivors:
        names = ", ".join(f"{name} (pid {identity.pid})" for name, identity in survivors.items())
        raise StackError(f"{names} survived SIGKILL; look with: ps -o pid,stat,command -p PID")
    if before.description is not None:
        delete_borrowed(before.description)
    before.stack_file.unlink(missing_ok=True)
    return Down(before, teardown)
