"""Which addresses are this machine's own: some doors are open to it alone, and load goes to no other."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for certain: `localhost`, 127.0.0.0/8, ::1, or ::ffff:127.0.0.0/104."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # who calls a socket of both families by IPv4
    return (mapped or address).is_loopback
