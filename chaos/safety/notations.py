"""One form for every way in which an address can be written, so that it is judged as what it is.

`127.0.0.1` is also `2130706433`, `0x7f.1`, `127.1`, `::ffff:7f00:1`, `127.0.0.1.` and, to some programs
alone, `0177.0.0.1`. Who compares text is fooled by one of them. So numbers are read here, as `inet_aton`
reads them, and what two programs could read differently is refused. A host whose last label is a number is
an address and never a name, as in browsers' URLs: a resolver never gets to see it. The ranges are those of
IANA's special-purpose registries (RFC 6890 and its successors); Python's own `is_private` and `is_global`
moved between its versions.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

Kind = Literal["loopback", "private", "link-local", "metadata", "public"]
IP = IPv4Address | IPv6Address

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MOST_TEXT = 253

_METADATA = {
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, and most others
        "169.254.170.2",  # AWS, of containers
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure's host
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
}
_PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
_NOBODY: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "means this network or every address of a machine, not one of them"),
    ("224.0.0.0/4", "is a multicast address: many machines"),
    ("255.255.255.255/32", "is the broadcast address: every machine of a network"),
    ("240.0.0.0/4", "is reserved"),
    ("::/128", "means every address of a machine, not one of them"),
    ("ff00::/8", "is a multicast address: many machines"),
)
_TRANSLATED: tuple[tuple[str, int, str], ...] = (
    ("64:ff9b::/96", 0, "is passed on to an IPv4 address by a translator (NAT64)"),
    ("64:ff9b:1::/48", 0, "is passed on to an IPv4 address by a translator (NAT64)"),
    ("::ffff:0:0:0/96", 0, "is passed on to an IPv4 address by a translator (SIIT)"),
    ("2002::/16", 80, "holds an IPv4 address (6to4)"),
    ("2001::/32", 0, "holds an IPv4 address (Teredo)"),
    ("::/96", 0, "is an IPv4 address in a form that was given up (IPv4-compatible)"),
)
_REFUSED = [(ipaddress.ip_network(network), why) for network, why in _NOBODY]
_HOLDING = [(ipaddress.ip_network(network), shift, why) for network, shift, why in _TRANSLATED]


class AmbiguousError(ValueError):
    """It names no one machine, or could be read in two ways; the message goes on from the text itself."""


def read_host(text: str) -> IP | str:
    """The address that a host is, or its name in small letters without a last dot. Raises AmbiguousError."""
    if len(text) > _MOST_TEXT:
        raise AmbiguousError(f"has {len(text)} characters; a name has at most {_MOST_TEXT}")
    if not text.isascii():
        raise AmbiguousError("has letters or digits beyond ASCII; write a name as xn--…, digits as 0 to 9")
    if "%" in text:
        raise AmbiguousError("has a zone or an escape (%), which belongs to one machine; leave it out")
    if ":" in text:
        return _read_v6(text)
    host = text.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _one_machine(_read_v4(labels))
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise AmbiguousError("is neither an address nor a name of letters, digits, '-' and '.'")
    return host.lower()


def kind_of(address: IP) -> Kind:
    """Whose an address may be: this machine's, a private network's, or anybody's."""
    if address.is_loopback:
        return "loopback"
    if address in _METADATA:
        return "metadata"
    if address.is_link_local:
        return "link-local"
    return "private" if any(address in network for network in _PRIVATE) else "public"


def is_loopback(host: str) -> bool:
    """Whether a host, as a URL names it, is this machine for certain; a name other than localhost is not."""
    try:
        found = read_host(host)
    except AmbiguousError:
        return False
    return found == "localhost" or (not isinstance(found, str) and found.is_loopback)


def with_port(address: IP | str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if isinstance(address, IPv6Address) else f"{address}:{port}"


def _read_v6(text: str) -> IP:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise AmbiguousError("is not an IPv6 address") from None
    return _one_machine(address.ipv4_mapped or address)


def _read_v4(labels: list[str]) -> IPv4Address:
    """As `inet_aton`: one to four numbers, the last of which fills what is left."""
    if not all(_NUMBER.fullmatch(label) for label in labels) or not 1 <= len(labels) <= 4:
        raise AmbiguousError("ends like an address and is none; a name does not end in a number")
    read = _joined([_number(label) for label in labels])
    if read is None:
        raise AmbiguousError("is not an address: one of its numbers is too large")
    plainly = _joined([int(label) if label.isdigit() else _number(label) for label in labels])
    if plainly != read:
        as_decimal = f"{plainly} to others" if plainly is not None else "nothing to others"
        raise AmbiguousError(f"has numbers with a leading zero, which are {read} to some and {as_decimal}")
    return read


def _number(label: str) -> int:
    """A number as `inet_aton` reads it: 0x is hexadecimal, a leading zero octal."""
    if label[:2] in ("0x", "0X"):
        if len(label) == 2:
            raise AmbiguousError("has a number without digits (0x)")
        return int(label, 16)
    if label.startswith("0") and len(label) > 1:
        try:
            return int(label, 8)
        except ValueError:
            raise AmbiguousError("has a number with a leading zero that is not octal") from None
    return int(label)


def _joined(numbers: list[int]) -> IPv4Address | None:
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 256 ** (5 - len(numbers)):
        return None
    return IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(first)) + last)


def _one_machine(address: IP) -> IP:
    """The address itself, where it is one machine's; others are refused with what they are."""
    for network, why in _REFUSED:
        if address in network:
            raise AmbiguousError(f"{why}; write the address of one machine")
    if not address.is_loopback:
        for network, shift, why in _HOLDING:
            if address in network:
                held = (int(address) >> shift) & 0xFFFF_FFFF
                inner = IPv4Address(held ^ 0xFFFF_FFFF if "Teredo" in why else held)  # kept inverted there
                raise AmbiguousError(f"{why}; write the address itself, such as {inner}")
    return address
