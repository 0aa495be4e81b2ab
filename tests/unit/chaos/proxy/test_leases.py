"""Leases against a model, on a clock that the test moves: nothing outlives its lease, nothing held goes."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chaos.control.fault_proxy import Toxic
from chaos.proxy.asked import ProxyInput, RefusedError
from chaos.proxy.leases import LeaseMissingError, Leases
from chaos.proxy.registry import Registry

HOST = "127.45.0.1"  # nobody's outgoing connection takes a port of this address


class FakeTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTimers:
    """A clock, and what is to happen at which time of it."""

    def __init__(self) -> None:
        self.time_s = 100.0
        self.waiting: list[tuple[float, int, FakeTimer, Callable[[], None]]] = []
        self._number = count()

    def now_s(self) -> float:
        return self.time_s

    def call_at(self, when_s: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer()
        heapq.heappush(self.waiting, (when_s, next(self._number), timer, callback))
        return timer

    def run_for(self, seconds: float) -> None:
        until_s = self.time_s + seconds
        while self.waiting and self.waiting[0][0] <= until_s:
            when_s, _, timer, callback = heapq.heappop(self.waiting)
            self.time_s = max(self.time_s, when_s)
            if not timer.cancelled:
                callback()
        self.time_s = until_s


@pytest.fixture
def timers() -> FakeTimers:
    return FakeTimers()


def test_silence_ends_a_lease_and_a_renewal_does_not(timers: FakeTimers) -> None:
    """It ends `ttl_s` after it was last heard of, to the moment."""
    ended: list[tuple[str, float]] = []
    leases = Leases(lambda name: ended.append((name, timers.time_s)), timers)
    assert not leases.put("run", 10).renewed
    timers.run_for(9)
    assert leases.put("run", 10).renewed
    timers.run_for(9.9)
    assert ended == []
    timers.run_for(1)
    assert ended == [("run", 119.0)]
    assert leases.ended == 1
    with pytest.raises(LeaseMissingError):
        leases.require("run")


def test_one_timer_serves_all(timers: FakeTimers) -> None:
    """Renewals by the thousand leave one timer, set for the earliest end."""
    leases = Leases(lambda _: None, timers)
    for _ in range(1_000):
        leases.put("a", 10)
        leases.put("b", 20)
    assert len([timer for _, _, timer, _ in timers.waiting if not timer.cancelled]) == 1


def test_a_shorter_lease_is_not_missed(timers: FakeTimers) -> None:
    """A lease that ends before the one the timer waits for ends in time."""
    ended: list[str] = []
    leases = Leases(ended.append, timers)
    leases.put("long", 60)
    leases.put("short", 1)
    timers.run_for(1)
    assert ended == ["short"]
    leases.put("long", 1)
    timers.run_for(1)
    assert ended == ["short", "long"]


def test_a_late_timer_saves_no_lease(timers: FakeTimers) -> None:
    """A process that stood still ends what is overdue before it hears anybody, and says so."""
    ended: list[str] = []
    leases = Leases(ended.append, timers)
    leases.put("run", 10)
    timers.time_s += 11
    lease = leases.put("run", 10)
    assert ended == ["run"]
    assert not lease.renewed


def test_an_undoing_that_fails_keeps_no_other_from_its_own(timers: FakeTimers) -> None:
    """Two leases end at once; the first one's undoing breaks, the second one's is done."""
    ended: list[str] = []

    def undo(name: str) -> None:
        if name == "a":
            raise RuntimeError("broken")
        ended.append(name)

    leases = Leases(undo, timers)
    leases.put("a", 5)
    leases.put("b", 5)
    timers.run_for(5)
    assert ended == ["b"]


lease_names = st.sampled_from(["r", "s"])
some_lease = st.sampled_from(["", "r", "s"])
proxy_names = st.sampled_from(["a", "b"])
toxic_names = st.sampled_from(["t", "u"])


class LeaseMachine(RuleBasedStateMachine):
    """The model: leases with their ends; proxies with their lease, their toxics' and what keeps them down."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.timers = FakeTimers()
        self.leases: dict[str, float] = {}
        self.proxies: dict[str, dict[str, Any]] = {}

    @initialize()
    def begin(self) -> None:
        """Two leases, with everything there is on them: a machine that begins empty seldom gets this far."""
        self.registry = Registry(random.Random(1), leases=lambda on_end: Leases(on_end, self.timers))
        self.put_lease("r", 5)
        self.put_lease("s", 9)
        self.create("a", "")
        self.create("b", "s")
        self.add_toxic("a", "t", "r")
        self.add_toxic("a", "u", "s")
        self.disable("a", "r")
        self.disable("a", "s")

    def ask(self, coroutine: Any, status: int | None) -> None:
        """Run a request; it must succeed, or be refused with this status and change nothing."""
        if status is None:
            self.loop.run_until_complete(coroutine)
            return
        with pytest.raises(RefusedError) as caught:
            self.loop.run_until_complete(coroutine)
        assert caught.value.status == status

    def end_overdue(self) -> None:
        for name in [name for name, end_s in self.leases.items() if end_s <= self.timers.time_s]:
            self.end_in_model(name)

    def end_in_model(self, lease: str) -> None:
        del self.leases[lease]
        for name, proxy in list(self.proxies.items()):
            if proxy["lease"] == lease:
                del self.proxies[name]
            proxy["toxics"] = {toxic: by for toxic, by in proxy["toxics"].items() if by != lease}
            if lease in proxy["down"]:
                proxy["down"].discard(lease)
                proxy["enabled"] = not proxy["down"]

    def missing(self, lease: str) -> bool:
        return bool(lease) and lease not in self.leases

    @rule(name=lease_names, ttl_s=st.integers(1, 20))
    def put_lease(self, name: str, ttl_s: int) -> None:
        async def put() -> None:
            assert self.registry.leases.put(name, ttl_s).renewed == (name in self.leases)

        self.ask(put(), None)
        self.leases[name] = self.timers.time_s + ttl_s

    @rule(name=lease_names)
    def end_lease(self, name: str) -> None:
        async def end() -> None:
            self.registry.require_lease(name)
            self.registry.leases.end(name)

        self.ask(end(), None if name in self.leases else 404)
        if name in self.leases:
            self.end_in_model(name)

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds: int) -> None:
        async def run() -> None:
            self.timers.run_for(seconds)

        self.ask(run(), None)
        self.end_overdue()

    @rule(seconds=st.integers(1, 12), name=lease_names)
    def stand_still(self, seconds: int, name: str) -> None:
        """The process was suspended: time passes without timers, and then somebody names a lease."""

        async def ask() -> None:
            self.timers.time_s += seconds
            self.registry.require_lease(name)

        end_s = self.leases.get(name, 0.0)
        self.ask(ask(), None if end_s > self.timers.time_s + seconds else 404)
        self.end_overdue()

    @rule(name=proxy_names, lease=some_lease)
    def create(self, name: str, lease: str) -> None:
        status = 404 if self.missing(lease) else 409 if name in self.proxies else None
        self.ask(
            self.registry.create(ProxyInput(name, f"{HOST}:0", "127.0.0.1:9", True, lease=lease)), status
        )
        if status is None:
            self.proxies[name] = {"lease": lease, "toxics": {}, "down": set(), "enabled": True}

    @rule(name=proxy_names)
    def delete(self, name: str) -> None:
        self.ask(self.registry.delete(name), None if name in self.proxies else 404)
        self.proxies.pop(name, None)

    @rule(name=proxy_names, toxic=toxic_names, lease=some_lease)
    def add_toxic(self, name: str, toxic: str, lease: str) -> None:
        known = self.proxies.get(name)
        status: int | None = None
        if known is None or self.missing(lease):
            status = 404
        elif toxic in known["toxics"]:
            status = 409
        self.ask(self.registry.add_toxic(name, Toxic(toxic, "latency", lease=lease), {"latency": 1}), status)
        if status is None and known is not None:
            known["toxics"][toxic] = lease

    @rule(name=proxy_names, toxic=toxic_names)
    def change_toxic(self, name: str, toxic: str) -> None:
        """A change of its size leaves a toxic on its lease."""
        known = self.proxies.get(name, {"toxics": {}})["toxics"]
        self.ask(
            self.registry.update_toxic(name, toxic, 1.0, {"latency": 2}), None if toxic in known else 404
        )

    @rule(name=proxy_names, toxic=toxic_names)
    def remove_toxic(self, name: str, toxic: str) -> None:
        known = self.proxies.get(name, {"toxics": {}})["toxics"]
        self.ask(self.registry.remove_toxic(name, toxic), None if toxic in known else 404)
        known.pop(toxic, None)

    @rule(name=proxy_names, lease=some_lease)
    def disable(self, name: str, lease: str) -> None:
        known = self.proxies.get(name)
        status = 404 if known is None or self.missing(lease) else None
        self.ask(self.registry.update(name, enabled=False, lease=lease), status)
        if status is None and known is not None:
            if lease and (known["enabled"] or known["down"]):
                known["down"].add(lease)
            known["enabled"] = False

    @rule(name=proxy_names)
    def enable(self, name: str) -> None:
        known = self.proxies.get(name)
        self.ask(self.registry.update(name, enabled=True), None if known is not None else 404)
        if known is not None:
            known["enabled"] = True
            known["down"].clear()

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "registry"):
            return
        states = {state.name: state for state in self.registry.states()}
        assert sorted(states) == sorted(self.proxies)
        for name, known in self.proxies.items():
            assert states[name].enabled == known["enabled"]
            assert states[name].lease == known["lease"]
            assert {toxic.name: toxic.lease for toxic in states[name].toxics} == known["toxics"]
        for lease in self.leases:
            hanging = self.registry.hanging_on(lease)
            assert len(hanging) == sum(
                (known["lease"] == lease)
                + (lease in known["down"])
                + sum(by == lease for by in known["toxics"].values())
                for known in self.proxies.values()
            )

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.loop.run_until_complete(self.registry.stop())
        self.loop.close()


TestLeases = LeaseMachine.TestCase
TestLeases.settings = settings(max_examples=100, stateful_step_count=30)


def test_a_proxy_whose_port_was_taken_comes_back_when_it_is_free(caplog: Any) -> None:
    """The end of a lease cannot open a port that somebody has; it tries until it can, and says so."""
    import socket

    async def run() -> None:
        timers = FakeTimers()
        registry = Registry(random.Random(1), leases=lambda on_end: Leases(on_end, timers))
        await registry.create(ProxyInput("p", f"{HOST}:0", "127.0.0.1:9", True))
        port = int(registry.state("p").listen.rpartition(":")[2])
        registry.leases.put("run", 5)
        await registry.update("p", enabled=False, lease="run")
        with socket.create_server((HOST, port)):
            timers.run_for(6)
            assert not registry.state("p").enabled
        registry._enable_again(registry.find("p"))  # what the timer calls after a second
        assert registry.state("p").enabled
        await registry.stop()

    asyncio.run(run())
    assert any("cannot be enabled again" in message for message in caplog.messages)


@pytest.mark.parametrize(
    "asked",
    [
        {"enabled": True, "lease": "run"},
        {"lease": "run"},
        {"enabled": False, "lease": "run", "upstream": "127.0.0.1:10"},
        {"enabled": False, "lease": "run", "listen": f"{HOST}:1"},
    ],
)
def test_a_lease_on_anything_but_disabling_is_refused(asked: dict[str, Any]) -> None:
    """What a lease could not undo is not done."""

    async def run() -> None:
        registry = Registry(random.Random(1))
        await registry.create(ProxyInput("p", f"{HOST}:0", "127.0.0.1:9", True))
        before = registry.state("p")
        registry.leases.put("run", 5)
        with pytest.raises(RefusedError) as caught:
            await registry.update("p", **asked)
        assert caught.value.status == 400
        assert registry.state("p") == before
        await registry.stop()

    asyncio.run(run())
