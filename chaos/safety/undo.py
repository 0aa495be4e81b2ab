"""Undo a fault from its record alone, as often as one likes.

The runner writes each record before its fault; whoever finds it later (the runner, the warden after the
runner was killed, `ragquake rollback` a day after) may not know whether the fault ever went in or was
undone since. So what is already undone is fine, and only "the fault may still be in" is an error. Records
about bytes name a proxy, records about processes name pids with their creation times
(`chaos.processes.undoing`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.simulator import SimulatorFaults, SimulatorGoneError
from chaos.control.toxiproxy import FaultProxyError, ProxyGoneError, ProxyMissingError, Toxiproxy
from chaos.processes import undoing


def perform(undo: Mapping[str, Any], timeout_s: float = 5.0) -> str:
    """Carry out an undo record and say what was found.

    Raises FaultProxyError or ProcessFaultError when the fault may still be in.
    """
    word = str(undo.get("do"))
    if word in undoing.DOES:
        return undoing.DOES[word](undo)
    do, keys = _DOES.get(word, (None, ()))
    if do is None:
        known = ", ".join((*_DOES, *undoing.DOES))
        raise FaultProxyError(f"undo {dict(undo)}", f"only {known} can be undone")
    values = [undo.get(key) for key in keys]
    if not all(isinstance(value, str) for value in values):
        raise FaultProxyError(f"undo {dict(undo)}", f"the record needs text under {', '.join(keys)}")
    at, *names = map(str, values)
    try:
        return do(at, timeout_s, *names)
    except ProxyGoneError:
        return f"the fault proxy at {at} is gone, and its faults with it"
    except SimulatorGoneError:
        return f"the simulator at {at} is gone, and its faults with it"
    except ValueError as broken:
        raise FaultProxyError(f"undo {dict(undo)}", f"the record cannot be read: {broken}") from broken


def _remove_toxic(api: str, timeout_s: float, proxy: str, toxic: str) -> str:
    client = Toxiproxy(api, timeout_s)
    return _removed(toxic, proxy, "", client.remove_toxic, client.toxics)


def _remove_http_fault(api: str, timeout_s: float, proxy: str, fault: str) -> str:
    client = BuiltinProxy(api, timeout_s)
    return _removed(fault, proxy, "the requests of ", client.remove_http_fault, client.http_faults)


def _removed(
    name: str,
    proxy: str,
    place: str,
    remove: Callable[[str, str], object],
    left: Callable[[str], Container[str]],
) -> str:
    """Remove it, and where it is missing see whether it, or its whole proxy, was gone before."""
    try:
        remove(proxy, name)
    except ProxyMissingError:
        pass
    else:
        return f"removed {name} from {place}{proxy}"
    try:
        came_back = name in left(proxy)
    except ProxyMissingError:
        return f"proxy {proxy} is gone, and {name} with it"
    if came_back:
        raise FaultProxyError(f"remove {name} from {place}{proxy}", "it came back while it was removed")
    return f"{name} was already gone from {place}{proxy}"


def _enable(api: str, timeout_s: float, proxy: str) -> str:
    client = Toxiproxy(api, timeout_s)
    try:
        was_enabled = client.proxy(proxy).enabled
        if not was_enabled:
            client.set_enabled(proxy, True)
    except ProxyMissingError:
        return f"proxy {proxy} is gone, and was not enabled"
    return f"{proxy} was already enabled" if was_enabled else f"enabled {proxy}"


def _remove_simulator_fault(address: str, timeout_s: float, fault: str) -> str:
    found = SimulatorFaults(address, timeout_s).remove(fault)
    return f"{fault} was already gone from the simulator" if found is None else f"removed {fault} from it"


_DOES: Mapping[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "remove_toxic": (_remove_toxic, ("api", "proxy", "toxic")),
    "enable": (_enable, ("api", "proxy")),
    "remove_http_fault": (_remove_http_fault, ("api", "proxy", "fault")),
    "remove_simulator_fault": (_remove_simulator_fault, ("address", "fault")),
}
