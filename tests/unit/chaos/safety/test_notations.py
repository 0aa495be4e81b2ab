"""Every way to write an address is brought to one form, or refused."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.safety.notations import AmbiguousError, is_loopback, kind_of, read_host

NOTATIONS: dict[str, Callable[[int], str]] = {
    "dotted": lambda n: str(IPv4Address(n)),
    "a last dot": lambda n: f"{IPv4Address(n)}.",
    "one number": str,
    "one hexadecimal number": lambda n: f"0x{n:x}",
    "one octal number": lambda n: f"0{n:o}",
    "two numbers": lambda n: f"{n >> 24}.{n & 0xFFFFFF}",
    "three numbers": lambda n: f"{n >> 24}.{n >> 16 & 255}.{n & 0xFFFF}",
    "hexadecimal labels": lambda n: ".".join(f"0X{byte:X}" for byte in n.to_bytes(4, "big")),
    "octal labels": lambda n: ".".join(f"0{byte:o}" for byte in n.to_bytes(4, "big")),
    "zeros before": lambda n: ".".join(f"{byte:03d}" for byte in n.to_bytes(4, "big")),
    "mixed": lambda n: f"0x{n >> 24:x}.{n >> 16 & 255}.0x{n & 0xFFFF:x}",
    "IPv4-mapped": lambda n: f"::ffff:{IPv4Address(n)}",
    "IPv4-mapped in hexadecimal": lambda n: str(IPv6Address((0xFFFF << 32) + n)),
    "IPv4-mapped in full": lambda n: IPv6Address((0xFFFF << 32) + n).exploded,
    "IPv4-compatible": lambda n: f"::{IPv4Address(n)}",
    "NAT64": lambda n: f"64:ff9b::{IPv4Address(n)}",
    "6to4": lambda n: str(IPv6Address((0x2002 << 112) + (n << 80))),
}


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(NOTATIONS)))
def test_a_notation_is_read_as_the_address_that_it_stands_for_or_refused(number: int, notation: str) -> None:
    """However an IPv4 address is written, nobody takes it for another one."""
    try:
        found = read_host(NOTATIONS[notation](number))
    except AmbiguousError:
        return
    same = IPv6Address("::1") if (number, notation) == (1, "IPv4-compatible") else IPv4Address(number)
    assert found == same, "::0.0.0.1 is ::1"


@given(st.integers(1 << 24, (127 << 24) - 1) | st.integers(128 << 24, (224 << 24) - 1))
def test_the_plain_notations_of_one_machine_are_all_read(number: int) -> None:
    """Negative control of the rule above: it does not hold by refusing everything."""
    for notation in ("dotted", "a last dot", "one number", "hexadecimal labels", "mixed", "IPv4-mapped"):
        assert read_host(NOTATIONS[notation](number)) == IPv4Address(number)


@given(st.text(alphabet="0123456789abcdefxX.:%[]@-_ 。１", max_size=24))
def test_what_passes_as_loopback_is_loopback_to_the_machine_too(text: str) -> None:
    """No text is taken for this machine unless the system's own reading of it is this machine."""
    if not is_loopback(text) or text.removesuffix(".") == "localhost":
        return
    bare = text.removesuffix(".")
    if ":" in bare:
        read = IPv6Address(socket.inet_pton(socket.AF_INET6, bare))
        assert (read.ipv4_mapped or read).is_loopback
    else:
        assert IPv4Address(socket.inet_aton(bare)).is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "127.255.0.9",
        "::1",
        "0:0:0:0:0:0:0:1",
        "LOCALHOST.",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "127.0.0.01",
    ],
)
def test_loopback_is_known_in_each_of_its_notations(text: str) -> None:
    """What means this machine to everybody is taken for this machine."""
    assert is_loopback(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" * 5000,
        "localhost.evil.com",
        "127.0.0.1.nip.io",
        "evil",
        "10.0.0.1",
        "0x0a000001",
        "167772161",
        "8.8.8.8",
        "0177.0.0.1",
        "0127.0.0.1",
        "127.0.0.1.1",
        "127.0.0.256",
        "256.0.0.1",
        "127.0.0.1..",
        ".127.0.0.1",
        "0.0.0.0",
        "0",
        "::",
        "::2",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::1%1",
        "fe80::1%lo",
        "0x.0.0.1",
        "08.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ],
)
def test_what_is_not_loopback_for_certain_never_passes_as_loopback(text: str) -> None:
    """Names, other machines, and what two programs could read differently."""
    assert not is_loopback(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0177.0.0.1", r"127\.0\.0\.1 to some and 177\.0\.0\.1 to others"),
        ("0400.0.0.1", r"too large"),
        ("08.1.1.1", "not octal"),
        ("1.2.3.4.5", "ends like an address"),
        ("example.7", "ends like an address"),
        ("0.0.0.0", "every address of a machine"),
        ("255.255.255.255", "broadcast|every machine"),
        ("239.1.1.1", "multicast"),
        ("250.0.0.1", "reserved"),
        ("ff02::1", "multicast"),
        ("::ffff:0.0.0.0", "every address"),
        ("::ffff:224.0.0.1", "multicast"),
        ("::10.0.0.1", r"such as 10\.0\.0\.1"),
        ("64:ff9b::a00:1", r"NAT64.*such as 10\.0\.0\.1"),
        ("::ffff:0:a00:1", r"SIIT.*10\.0\.0\.1"),
        ("2002:a00:1::1", r"6to4.*10\.0\.0\.1"),
        ("2001:0:1:2:3:4:f5ff:fffe", r"Teredo.*10\.0\.0\.1"),
        ("fe80::1%eth0", "zone"),
        ("b" * 64 + ".de", "neither an address nor a name"),
        ("-a.de", "neither"),
        ("exämple.de", "ASCII"),
        ("x" * 300, "300 characters"),
    ],
)
def test_what_is_refused_says_why(text: str, why: str) -> None:
    """A person who wrote it in good faith learns what is wrong with it."""
    with pytest.raises(AmbiguousError, match=why):
        read_host(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", "public"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("8.8.8.8", "public"),
        ("192.0.2.1", "public"),
        ("2606:4700::1", "public"),
    ],
)
def test_an_address_is_of_one_kind(text: str, kind: str) -> None:
    """What is neither loopback nor known to be private counts as public: the most that is asked for."""
    assert kind_of(ip_address(text)) == kind


def test_names_lose_their_capitals_and_their_last_dot() -> None:
    """DNS knows neither, so one name is one text."""
    assert read_host("Search.Staging.") == "search.staging"
    assert read_host("vector-db") == "vector-db"
