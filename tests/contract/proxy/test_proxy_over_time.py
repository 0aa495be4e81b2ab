"""What a run does to a real built-in proxy: all under its lease, and no step of a ramp lets anything go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from chaos.control.builtin_proxy import BuiltinProxy, HttpFaultSpec
from chaos.control.controls import Controls
from chaos.faults import parse_fault
from chaos.safety.lease import RunLease

pytestmark = pytest.mark.slow


def test_what_a_leased_client_puts_in_goes_with_the_lease(builtin: Any, echo: str) -> None:
    """Toxics, `down` and faults on requests, changed or not; its proxies stay."""
    client = BuiltinProxy(builtin.api, lease="run")
    builtin.proxy(echo, "vector_db", http=True)
    builtin.proxy(echo, "llm")
    lease = RunLease(client, "run")
    lease.begin()
    at = Controls(client)
    ramp = {"latency": ["0s", "4s"], "over": "30s"}
    slow = parse_fault("slow", {"on": "vector_db", "kind": "latency", "ramp": ramp})
    down = parse_fault("down", {"on": "llm", "kind": "down"})
    slow.at_step(0).inject(at, "slow")
    slow.at_step(7).change(at, "slow")
    assert slow.at_step(7).read_back(at, "slow")["latency"] == 933
    down.inject(at, "down")
    client.add_http_fault("vector_db", HttpFaultSpec("no", "http_error", {"status": 503}))
    assert len(builtin.ask("GET", "/leases").json()[0]["holds"]) == 3
    lease.end()
    assert slow.is_gone(at, "slow") and down.is_gone(at, "down")
    assert client.http_faults("vector_db") == {} and client.leases() == {}


def test_a_step_of_a_ramp_lets_nothing_go(builtin: Any, echo: str, connect: Callable[..., Any]) -> None:
    """What was to wait a second waits it, whatever the next step says."""
    at = Controls(builtin.client)
    address = builtin.proxy(echo, "vector_db")
    ramp = {"latency": ["1s", "100ms"], "over": "2s"}
    fault = parse_fault("slow", {"on": "vector_db", "kind": "latency", "ramp": ramp})
    fault.at_step(0).inject(at, "slow")
    connection = connect(address)
    connection.settimeout(5)
    began_s = time.monotonic()
    connection.sendall(b"x")
    time.sleep(0.3)
    fault.at_step(2).change(at, "slow")
    assert connection.recv(1) == b"x"
    assert time.monotonic() - began_s >= 0.99
