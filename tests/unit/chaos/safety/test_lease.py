"""The run's lease is kept by a thread, and its loss is an error of the run."""

from __future__ import annotations

import re

import pytest

from chaos.control.fault_proxy import FaultProxyError, ProxyHungError
from chaos.errors import EnvironmentFailure
from chaos.proxy.leases import Lease
from chaos.safety.lease import RENEW_EVERY_S, TTL_S, RunLease


class Time:
    now_s = 100.0
    set_by_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s + self.set_by_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Proxy:
    """A built-in proxy's leases on a clock that the test moves."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.ends_s: dict[str, float] = {}
        self.fails = False

    def put_lease(self, name: str, ttl_s: float) -> Lease:
        if self.fails:
            raise ProxyHungError("PUT", "no answer")
        renewed = self.ends_s.get(name, 0.0) > self.time.now_s
        self.ends_s[name] = self.time.now_s + ttl_s
        return Lease(name, ttl_s, ttl_s, renewed)

    def end_lease(self, name: str) -> None:
        if self.ends_s.pop(name, 0.0) <= self.time.now_s:
            raise FaultProxyError("DELETE", "lease not found", status=404)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def proxy(time: Time) -> Proxy:
    return Proxy(time)


@pytest.fixture
def lease(proxy: Proxy, time: Time) -> RunLease:
    return RunLease(proxy, "run-1", time)


def test_a_lease_that_is_renewed_in_time_ends_with_the_run(lease: RunLease, proxy: Proxy, time: Time) -> None:
    """It lasts as long as it is renewed, and nothing is left of it after the run."""
    lease.begin()
    for _ in range(20):
        time.sleep(RENEW_EVERY_S)
        lease.renew()
        lease.require()
    assert proxy.ends_s["run-1"] == time.now_s + TTL_S
    lease.end()
    lease.close()
    assert proxy.ends_s == {}


def test_a_lease_that_had_ended_is_an_error_of_the_run(lease: RunLease, time: Time) -> None:
    """The proxy took the faults out meanwhile, so the run proves nothing; a renewal does not heal that."""
    lease.begin()
    time.sleep(TTL_S + 1)
    lease.renew()
    lease.renew()
    with pytest.raises(EnvironmentFailure, match=r"ended while the run went on.*suspended"):
        lease.require()
    with pytest.raises(EnvironmentFailure, match="had ended when it was to be renewed"):
        lease.end()


def test_silence_is_noticed_before_the_next_renewal(lease: RunLease, time: Time) -> None:
    """A runner that wakes up asks the time before it trusts its faults."""
    lease.begin()
    time.sleep(TTL_S + RENEW_EVERY_S)
    with pytest.raises(EnvironmentFailure, match="not renewed for 12 s"):
        lease.require()
    lease.close()


def test_one_call_that_fails_is_tried_again(lease: RunLease, proxy: Proxy, time: Time) -> None:
    """A busy proxy is no lost lease; one that stays away for as long as the lease lasts is."""
    lease.begin()
    proxy.fails = True
    time.sleep(TTL_S - 1)
    lease.renew()
    lease.require()
    time.sleep(1)
    lease.renew()
    with pytest.raises(EnvironmentFailure, match="no answer"):
        lease.require()
    proxy.fails = False
    lease.close()


def test_it_had_ended_when_the_run_ends_it(lease: RunLease, proxy: Proxy) -> None:
    """The last look is the ending itself."""
    lease.begin()
    proxy.ends_s.clear()
    with pytest.raises(EnvironmentFailure, match="before the run ended it"):
        lease.end()


def test_a_name_that_is_taken_is_refused(lease: RunLease, proxy: Proxy) -> None:
    """Two runs under one lease would undo each other's faults."""
    proxy.put_lease("run-1", TTL_S)
    with pytest.raises(EnvironmentFailure, match="another run"):
        lease.begin()


def test_a_proxy_that_cannot_hold_it_is_an_error(lease: RunLease, proxy: Proxy) -> None:
    """Nothing is put in without it; ending what never began does nothing."""
    proxy.fails = True
    with pytest.raises(EnvironmentFailure, match="cannot be had"):
        lease.begin()
    lease.close()


def test_a_run_that_stood_still_is_noticed_without_a_proxy_that_has_leases(time: Time) -> None:
    """Toxiproxy kept the faults in meanwhile, and nobody switched phases or watched stop conditions."""
    lease = RunLease(None, "run-1", time)
    lease.begin()
    assert not lease.is_held
    for _ in range(10):
        time.sleep(RENEW_EVERY_S)
        lease.renew()
        lease.require()
    time.sleep(TTL_S)
    lease.renew()
    with pytest.raises(EnvironmentFailure, match=r"stood still for 10 s.*suspended"):
        lease.require()
    lease.close()


def test_a_run_that_stood_still_is_noticed_before_its_thread_is(time: Time) -> None:
    """Whichever thread wakes up first."""
    lease = RunLease(None, "run-1", time)
    lease.begin()
    time.sleep(TTL_S + RENEW_EVERY_S)
    with pytest.raises(EnvironmentFailure, match="stood still for 12 s"):
        lease.end()


@pytest.mark.parametrize("step_s", [-30.0, 2.0])
def test_a_clock_that_was_set_is_an_error_of_the_run(lease: RunLease, time: Time, step_s: float) -> None:
    """Phases, faults and spans are told by it; a machine that slept shows in the same way."""
    lease.begin()
    time.set_by_s = step_s / 100
    lease.require()
    time.set_by_s = step_s
    with pytest.raises(EnvironmentFailure, match=re.escape(f"clock moved by {step_s:+.1f} s")):
        lease.require()
    lease.close()


def test_a_run_that_is_put_aside_between_two_clocks_is_no_step(lease: RunLease, time: Time) -> None:
    """A busy machine may take a second between them."""
    lease.begin()
    unset = time.unix_s

    def slowly() -> float:
        time.sleep(3.0)
        return unset()

    time.unix_s = slowly  # type: ignore[method-assign]
    lease.require()
    lease.close()
