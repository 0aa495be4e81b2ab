"""The rules of choosing ports."""

from __future__ import annotations

import os
import socket

import pytest

from chaos.stack.errors import PortBusy, StackError
from chaos.stack.ports import LOOPBACK, choose_ports, parse_ports, require_free, reserve_port
from slo.documents import DocumentError


def _listen(port: int = 0) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((LOOPBACK, port))
    server.listen(1)
    return server


def test_a_reserved_port_can_be_bound_by_a_server_that_reuses_addresses() -> None:
    """The reservation keeps others away, not the process that it is for."""
    port = reserve_port()
    with _listen(port) as server:
        assert server.getsockname()[1] == port


def test_the_kernel_does_not_hand_out_a_reserved_port_again() -> None:
    """No two of many reservations are the same number."""
    ports = [reserve_port() for _ in range(60)]
    assert len(set(ports)) == len(ports)


def test_every_part_gets_a_port_of_its_own() -> None:
    """Named ports are kept, the others are chosen, none twice."""
    free = reserve_port()
    chosen = choose_ports(("service", "llm", "proxy"), {"service": free})
    assert chosen["service"] == free
    assert len(set(chosen.values())) == 3


def test_a_busy_named_port_says_who_listens_and_what_to_do() -> None:
    """The refusal names part, port, the process in the way, and the ways out."""
    with _listen() as server:
        port = server.getsockname()[1]
        with pytest.raises(PortBusy) as refused:
            require_free("service", port)
    message = str(refused.value)
    assert str(port) in message and "service" in message
    assert f"pid {os.getpid()}" in message
    assert "name another port" in message


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"database": 8080}, "service, llm"),
        ({"service": 0}, "1 to 65535"),
        ({"service": 65536}, "1 to 65535"),
    ],
)
def test_what_is_no_part_or_no_port_is_refused_with_what_is_allowed(named: dict[str, int], said: str) -> None:
    """A wrong name lists the parts, a wrong number the range."""
    with pytest.raises(StackError, match=said):
        choose_ports(("service", "llm"), named)


def test_one_port_cannot_be_named_twice() -> None:
    """Two parts on one port are refused before anything starts."""
    free = reserve_port()
    with pytest.raises(StackError, match=r"both llm and service|both service and llm"):
        choose_ports(("service", "llm"), {"service": free, "llm": free})


def test_ports_are_named_as_part_and_number() -> None:
    """`service=8080` names a port; anything else is refused with the right form."""
    assert parse_ports(["service=8080", "llm=9000"]) == {"service": 8080, "llm": 9000}
    for wrong in ("8080", "service=", "service=http", "service=-1"):
        with pytest.raises(DocumentError, match="PART=NUMBER"):
            parse_ports([wrong])
