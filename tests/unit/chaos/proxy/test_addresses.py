from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.addresses import Address, AddressError, listen_on, name_of, parse_address, resolve_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:80", Address("::1", 80)),
        (":0", Address("", 0)),
        ("", Address("", 0)),
        ("name:65535", Address("name", 65535)),
    ],
)
def test_addresses_are_a_host_and_a_port(text: str, address: Address) -> None:
    """The forms that Go's `net` takes."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", "address nope: missing port in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("::1:80", "address ::1:80: too many colons in address"),
        ("h:65536", "address 65536: invalid port"),
        ("h:x", "lookup tcp/x: unknown port"),
    ],
)
def test_other_forms_are_refused_in_gos_words(text: str, message: str) -> None:
    """Clients match on these messages."""
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert str(caught.value) == message


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No listen address breaks the proxy."""
    try:
        assert 0 <= parse_address(text).port <= 65535
    except AddressError as error:
        assert str(error)


def test_localhost_resolves_to_ipv4() -> None:
    """As Go does where there is an IPv4 address."""
    assert str(resolve_address("localhost:80")) == "127.0.0.1:80"


def test_a_listener_has_its_real_port_and_a_taken_one_is_refused() -> None:
    """Port 0 becomes a port; the same port a second time is refused with the reason."""
    with listen_on("127.0.0.1:0") as listener:
        name = name_of(listener)
        assert not name.endswith(":0")
        with pytest.raises(AddressError, match=f"listen tcp {name}: bind: address already in use"):
            listen_on(name)
