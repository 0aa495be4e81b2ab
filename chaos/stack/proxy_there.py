"""A proxy that somebody else runs, looked at before a run uses it.

What is in it already would be measured as the target's own, and removed by nobody; where it leads was decided
by somebody else, and load goes there.
"""

from __future__ import annotations

from chaos.control.builtin_proxy import BuiltinProxy
from chaos.control.fault_proxy import FaultProxyError, ProxyMissingError, ProxyState
from chaos.control.toxiproxy import Toxiproxy
from chaos.safety.targets import TargetRefused, require_listed
from chaos.stack.description import DependencyRecord, ProxyRecord
from chaos.stack.errors import ProxyUnavailable
from chaos.stack.target import AttachedTarget, ProxyThere
from slo.documents import did_you_mean

WHY_THERE = "the target file names it"
_MARK = "ragquake-builtin"


def look_at(name: str, proxy: ProxyThere, target: AttachedTarget) -> DependencyRecord:
    """A proxy that is there, as stack.json tells of it.

    Raises ProxyUnavailable unless it is there, clean, and leads where faults may go.
    """
    where = f"dependencies.{name} in {target.path}"
    try:
        version = Toxiproxy(proxy.api).version()
        is_builtin = _MARK in version
        state = Toxiproxy(proxy.api).proxy(proxy.name)
        requests = BuiltinProxy(proxy.api).http_faults(proxy.name) if is_builtin and state.http else {}
    except ProxyMissingError:
        known = sorted(Toxiproxy(proxy.api).proxies())
        hint = did_you_mean(proxy.name, known)
        raise ProxyUnavailable(
            f"{where}: {proxy.api} has no proxy {proxy.name!r}{hint}; it has {', '.join(known) or 'none'}"
        ) from None
    except FaultProxyError as error:
        raise ProxyUnavailable(f"{where}: {error}") from error
    _require_clean(where, state, tuple(requests))
    try:
        require_listed(f"{where}: upstream of proxy {proxy.name!r}", state.upstream, target.allowed)
    except TargetRefused as refused:
        raise ProxyUnavailable(str(refused)) from None
    return DependencyRecord(
        proxy=proxy.name,
        listen=state.listen,
        upstream=state.upstream,
        server=ProxyRecord(
            kind="builtin" if is_builtin else "toxiproxy",
            version=version,
            api=proxy.api,
            why=WHY_THERE,
            owned=False,
        ),
        reads_requests=is_builtin and state.http,
    )


def _require_clean(where: str, state: ProxyState, requests: tuple[str, ...]) -> None:
    """What is in already would be measured as the target's own, and removed by nobody."""
    found = [*(toxic.name for toxic in state.toxics), *requests]
    if found:
        raise ProxyUnavailable(
            f"{where}: proxy {state.name!r} has faults in already: {', '.join(found)}. Is somebody else at "
            f"work on it? Remove them (toxiproxy-cli toxic remove -n TOXIC {state.name}), then run again"
        )
    if not state.enabled:
        raise ProxyUnavailable(
            f"{where}: proxy {state.name!r} is disabled, so the service cannot reach {state.upstream}; "
            f"enable it (toxiproxy-cli toggle {state.name}), then run again"
        )
