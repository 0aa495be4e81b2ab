"""Addresses as Toxiproxy takes them (`127.0.0.1:0`, `localhost:8080`, `:0`), with its words for refusing.

Clients match on these messages, so they are those of Go's `net` package.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from dataclasses import dataclass

_BACKLOG = 1024
_LOOKUP_S = 5.0


class AddressError(Exception):
    """An address that cannot be parsed, resolved or listened on."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; an empty host means every interface."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The host and port of `text`; empty text is port 0 on every interface."""
    if not text:
        return Address("", 0)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise AddressError(f"address {text}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"address {text}: too many colons in address")
    if not port.isascii() or not port.isdigit():
        raise AddressError(f"lookup tcp/{port}: unknown port")
    if int(port) > 65535:
        raise AddressError(f"address {port}: invalid port")
    return Address(host, int(port))


def resolve_address(text: str) -> Address:
    """The same with a numeric host, IPv4 where there is one."""
    address = parse_address(text)
    if not address.host:
        return address
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AddressError(f"lookup {address.host}: no such host") from None
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return Address(str(found[0][4][0]), address.port)


async def look_up(text: str) -> str:
    """`text` with a numeric host; a name server that hangs holds up the call for 5 s, and no bytes."""
    address = parse_address(text)
    if not address.host or _is_numeric(address.host):
        return str(resolve_address(text))
    looking = asyncio.get_running_loop().run_in_executor(None, resolve_address, text)
    try:
        return str(await asyncio.wait_for(looking, _LOOKUP_S))
    except TimeoutError:
        raise AddressError(f"lookup {address.host}: i/o timeout") from None


def listen_on(text: str) -> socket.socket:
    """A listening socket; its own name has the real port."""
    try:
        address = resolve_address(text)
    except AddressError as error:
        raise AddressError(f"listen tcp: {error}") from None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    everywhere = not address.host and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            (address.host, address.port),
            family=socket.AF_INET6 if everywhere else family,
            backlog=_BACKLOG,
            dualstack_ipv6=everywhere,
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise AddressError(f"listen tcp {address}: bind: {reason}") from None
    listener.setblocking(False)
    return listener


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def name_of(listener: socket.socket) -> str:
    """Where a socket listens, as the API writes it."""
    host, port = listener.getsockname()[:2]
    return str(Address(host, port))
