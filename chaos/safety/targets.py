"""Which addresses may be hurt: every one that a run sends load or faults to is decided here, once.

Loopback may always be. Any other address stands under `allow_targets`, exactly (an address and a port: no
names, ranges or wildcards, since whoever runs the name server would then decide); link-local, metadata and
public addresses want `--i-own-this-target` as well. A name is resolved once, each address that comes out must
be allowed, and the decided address, not the name, is what everybody dials from then on: what the name means a
moment later does not matter. No client of a run follows a redirect or an HTTP_PROXY.

An address that somebody else dials (where a proxy that runs already leads to) cannot be resolved from here;
it must be loopback in words or stand in the list as that proxy names it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chaos.safety.notations import IP, AmbiguousError, Kind, kind_of, read_host, with_port
from slo.documents import DocumentError

OWN_IT = "--i-own-this-target"
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::(?P<port>[0-9]{1,5}))?")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>.*)", re.DOTALL)
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_WANTS_OWNER: dict[Kind, str] = {
    "link-local": "a link-local address",
    "metadata": "a metadata service of a cloud",
    "public": "a public address",
}
_MOST_ALLOWED = 100


class TargetRefused(DocumentError):
    """An address that may not be hurt, or whose meaning is not certain; the message says what to do."""


class Resolve(Protocol):
    """The addresses of a name, as text, the first choice first; OSError when it has none."""

    def __call__(self, name: str) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A decided address, and the only one that is dialled; `path` is what stood behind it in a URL."""

    ip: IP
    port: int
    path: str = ""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return with_port(self.ip, self.port)

    @property
    def url(self) -> str:
        return f"http://{self.address}{self.path}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a user says may be hurt beyond this machine; nothing, unless told."""

    addresses: frozenset[tuple[IP, int]] = frozenset()
    names: frozenset[str] = frozenset()
    owned: bool = False
    listed_in: str | None = None
    """The file that holds the list; nothing where none is read, and loopback is all there is."""

    def told(self) -> str:
        """The list as a message shows it."""
        listed = sorted(with_port(ip, port) for ip, port in self.addresses) + sorted(self.names)
        return ", ".join(listed) or "nothing"


LOOPBACK_ONLY = Allowed()


def parse_allowed(entries: Iterable[object], listed_in: str, *, owned: bool = False) -> Allowed:
    """The list `allow_targets` of a file. Raises TargetRefused with all that are not HOST:PORT."""
    addresses: set[tuple[IP, int]] = set()
    names: set[str] = set()
    problems: list[str] = []
    listed = list(entries)
    if len(listed) > _MOST_ALLOWED:
        raise TargetRefused([f"allow_targets: {len(listed)} entries; at most {_MOST_ALLOWED} are taken"])
    for entry in listed:
        try:
            host, port = _split(f"allow_targets: {entry!r}", str(entry), None)
        except TargetRefused as refused:
            problems += refused.problems
            continue
        if isinstance(host, str):
            names.add(with_port(host, port))
        else:
            addresses.add((host, port))
    if problems:
        raise TargetRefused(problems)
    return Allowed(frozenset(addresses), frozenset(names), owned, listed_in)


def decide_url(
    what: str, url: str, allowed: Allowed = LOOPBACK_ONLY, resolve: Resolve | None = None
) -> Target:
    """Where an http:// URL leads. `what` is the key or flag that it stands under; empty
    where the caller says it. Raises TargetRefused."""
    shown = _shown(what, shown_url(url))
    parts = _URL.fullmatch(url)
    if parts is None or parts["scheme"].lower() != "http":
        raise TargetRefused([f"{shown} is not an http:// URL; write http://HOST:PORT"])
    if "@" in parts["authority"]:
        raise TargetRefused(
            [
                f"{shown} has a user or a password before the @, which nobody here sends; write http://HOST:PORT"
            ]
        )
    if not _PATH.fullmatch(parts["path"]):
        raise TargetRefused(
            [f"{shown} has more behind its address than a plain path; write http://HOST:PORT"]
        )
    host, port = _split(shown, parts["authority"], 80)
    return _decide(shown, host, port, parts["path"].rstrip("/"), allowed, resolve)


def decide_address(
    what: str, text: str, allowed: Allowed = LOOPBACK_ONLY, resolve: Resolve | None = None
) -> Target:
    """Where HOST:PORT leads. Raises TargetRefused."""
    shown = _shown(what, text)
    host, port = _split(shown, text, None)
    return _decide(shown, host, port, "", allowed, resolve)


def require_listed(what: str, text: str, allowed: Allowed) -> None:
    """For HOST:PORT that others dial: loopback in words, or listed exactly so. Raises TargetRefused."""
    shown = _shown(what, text)
    host, port = _split(shown, text, None)
    if isinstance(host, str):
        if host != "localhost" and with_port(host, port) not in allowed.names:
            raise TargetRefused([_refusal(shown, with_port(host, port), "", allowed)])
        return
    _require(shown, host, port, allowed)


def system_resolve(name: str) -> tuple[str, ...]:
    """What this machine's resolver says, IPv4 first: what listens on one of both mostly listens on that."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


def shown_url(url: str) -> str:
    """A URL without what stands before an @, which may be a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if "@" in rest else url


def _shown(what: str, text: str) -> str:
    return f"{what}: {text!r}" if what else repr(text)


def _split(shown: str, authority: str, default_port: int | None) -> tuple[IP | str, int]:
    """Host and port, the host in its one form."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise TargetRefused([f"{shown} is not HOST:PORT; IPv6 stands in brackets, as in [::1]:8080"])
    written = parts["v6"] if parts["v6"] is not None else parts["host"]
    if not written:
        raise TargetRefused([f"{shown} names no host; write HOST:PORT, such as 127.0.0.1:8080"])
    try:
        host = read_host(written)
        if parts["v6"] is not None and ":" not in written:
            raise AmbiguousError("is no IPv6 address, which alone stands in brackets")
    except AmbiguousError as error:
        raise TargetRefused([f"{shown}: {written} {error}"]) from None
    if parts["port"] is None and default_port is None:
        raise TargetRefused([f"{shown} has no port; write HOST:PORT, such as 127.0.0.1:8080"])
    port = default_port if parts["port"] is None else int(parts["port"])
    if port is None or not 0 < port < 65536:
        raise TargetRefused([f"{shown} has the port {port}; allowed is 1 to 65535"])
    return host, port


def _decide(
    shown: str, host: IP | str, port: int, path: str, allowed: Allowed, resolve: Resolve | None
) -> Target:
    if not isinstance(host, str):
        _require(shown, host, port, allowed)
        return Target(host, port, path)
    found = _resolved(shown, host, resolve or system_resolve)
    for address in found:
        _require(f"{shown} ({host} is {address})", address, port, allowed)
    return Target(found[0], port, path)


def _resolved(shown: str, name: str, resolve: Resolve) -> list[IP]:
    try:
        texts = resolve(name)
    except (OSError, UnicodeError) as error:
        raise TargetRefused([f"{shown}: the name {name} cannot be resolved here ({error})"]) from None
    found: list[IP] = []
    for text in texts:
        try:
            address = read_host(text)
        except AmbiguousError as error:
            raise TargetRefused([f"{shown}: {name} is {text}, which {error}"]) from None
        if isinstance(address, str):
            raise TargetRefused([f"{shown}: {name} is {text}, which is no address"])
        found.append(address)
    if not found:
        raise TargetRefused([f"{shown}: the name {name} has no address"])
    return found


def _require(shown: str, address: IP, port: int, allowed: Allowed) -> None:
    kind = kind_of(address)
    if kind == "loopback":
        return
    listed = (address, port) in allowed.addresses
    wants_owner = _WANTS_OWNER.get(kind, "")
    if not listed or (wants_owner and not allowed.owned):
        raise TargetRefused([_refusal(shown, with_port(address, port), wants_owner, allowed, listed=listed)])


def _refusal(shown: str, address: str, wants_owner: str, allowed: Allowed, *, listed: bool = False) -> str:
    told = f"{shown} would send load or faults to {address}, which is not this machine"
    if allowed.listed_in is None:
        return (
            f"{told}; here loopback alone is taken (127.0.0.1, ::1, localhost), so reach it through a tunnel "
            f"that ends on this machine"
        )
    steps = [] if listed else [f"list it in {allowed.listed_in}: allow_targets: [{_quoted(address)}]"]
    if wants_owner and not allowed.owned:
        steps.append(f"give {OWN_IT}, because it is {wants_owner}")
    return (
        f"{told}. Allowed are loopback (127.0.0.1, ::1, localhost) and what allow_targets lists "
        f"({allowed.told()}). If it is yours to hurt: {' and '.join(steps)}"
    )


def _quoted(address: str) -> str:
    """As YAML wants it: a bracket would begin a list."""
    return f'"{address}"' if address.startswith("[") else address
