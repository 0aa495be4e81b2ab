"""Random calls of the API and random traffic, against a model of proxies, toxics and streams.

At any time each side has received a beginning of what the other sent: nothing lost in between, nothing twice,
nothing out of order, whatever the toxics. And where only toxics were at work that promise to lose nothing,
all of it arrives, with its end, while toxics are added, changed and removed under the traffic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chaos.proxy.api import Api
from chaos.proxy.registry import Registry
from chaos.proxy.toxics import Stage
from tests.jumping_loop import JumpingLoop
from tests.property.proxy.peers import Peer, ask

PROXIES = ("a", "b")
STREAMS = ("upstream", "downstream")
FAITHFUL = {
    "latency": st.fixed_dictionaries({"latency": st.integers(0, 3000), "jitter": st.integers(0, 1000)}),
    "latency_distribution": st.fixed_dictionaries(
        {
            "latency": st.integers(1000, 2000),
            "spread": st.integers(100, 1000),
            "distribution": st.sampled_from(["uniform", "normal", "lognormal", "pareto"]),
        }
    ),
    "bandwidth": st.fixed_dictionaries({"rate": st.integers(20, 2000)}),
    "slicer": st.integers(100, 5000).flatmap(
        lambda average: st.fixed_dictionaries(
            {
                "average_size": st.just(average),
                "size_variation": st.integers(0, average - 1),
                "delay": st.integers(0, 20_000),
            }
        )
    ),
    "slow_close": st.fixed_dictionaries({"delay": st.integers(0, 5000)}),
    "noop": st.just({}),
}
UNFAITHFUL = {
    "timeout": st.fixed_dictionaries({"timeout": st.integers(0, 3000)}),
    "limit_data": st.fixed_dictionaries({"bytes": st.integers(0, 50_000)}),
    "reset_peer": st.fixed_dictionaries({"timeout": st.integers(0, 3000)}),
}
ALL = FAITHFUL | UNFAITHFUL
faithful_toxics = st.sampled_from(list(FAITHFUL)).flatmap(
    lambda kind: st.tuples(st.just(kind), FAITHFUL[kind])
)
holding_toxics = st.sampled_from(
    [
        ("latency", {"latency": 500, "jitter": 100}),
        ("latency_distribution", {"latency": 500, "spread": 500, "distribution": "uniform"}),
        ("bandwidth", {"rate": 20}),
        ("slicer", {"average_size": 300, "size_variation": 100, "delay": 10_000}),
    ]
)
unfaithful_toxics = st.sampled_from(list(UNFAITHFUL)).flatmap(
    lambda kind: st.tuples(st.just(kind), UNFAITHFUL[kind])
)
names = st.sampled_from(("s", "t", "u"))
proxies = st.sampled_from(PROXIES)
streams = st.sampled_from(STREAMS)
toxicities = st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0])
indexes = st.integers(0, 5)
leases = st.sampled_from(("", "", "", "l"))
PLENTY_S = 3600.0
FLOOD_BYTES = 8_000_000
#: The kernel's own timers do not jump: it gets a second of real time in all, when something is missing.
KERNEL_RATIO = 1.0 / PLENTY_S


@dataclass(frozen=True, slots=True)
class Known:
    """A toxic as the model knows it."""

    kind: str
    stream: str
    attributes: dict[str, Any]
    lease: str = ""


@dataclass
class Flow:
    """One direction of a connection: what was sent into it, and by whom it is received."""

    source: Peer
    sink: Peer
    sent: bytearray = field(default_factory=bytearray)
    ended: bool = False


@dataclass
class Connection:
    """A client and its upstream. `faithful` until something came that may lose bytes."""

    proxy: str
    flows: dict[str, Flow]
    faithful: bool

    @property
    def whole(self) -> bool:
        """Everything has arrived, and the end where one was sent."""
        return all(
            flow.sink.received == flow.sent and (not flow.ended or flow.sink.ended)
            for flow in self.flows.values()
        )


@pytest.fixture(autouse=True)
def no_word_of_leases(caplog: pytest.LogCaptureFixture) -> None:
    """That a lease ends is no news here, thousands of times."""
    caplog.set_level(logging.ERROR, "chaos.proxy.leases")


class ProxyMachine(RuleBasedStateMachine):
    """The model: for each proxy whether it is enabled and its toxics by name, leases, and all connections."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = JumpingLoop()
        asyncio.set_event_loop(self.loop)
        self.registry = Registry(random.Random(1))
        self.api = Api(self.registry)
        self.accepted: list[Peer] = []
        self.upstream = self.loop.run_until_complete(self.loop.create_server(self.accept, "127.0.0.1", 0))
        self.bytes = random.Random(2)
        self.model: dict[str, tuple[bool, dict[str, Known]]] = {}
        self.lease_ends_s: dict[str, float] = {}
        self.connections: list[Connection] = []
        self.calm = False
        for name in PROXIES:
            self.create(name, True)
            self.connect(name)

    @initialize(calm=st.booleans())
    def how_wild(self, calm: bool) -> None:
        """Half of the examples lose nothing on purpose, so that all they sent has to arrive."""
        self.calm = calm

    def accept(self) -> Peer:
        self.accepted.append(Peer())
        return self.accepted[-1]

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        found: tuple[int, Any] = self.loop.run_until_complete(ask(self.api, method, path, body))
        self.forget_overdue()
        return found

    def forget_overdue(self) -> None:
        """What hung on a lease that nobody renewed is gone."""
        for lease in [name for name, ends_s in self.lease_ends_s.items() if ends_s <= self.loop.time()]:
            self.forget(lease)

    def forget(self, lease: str) -> None:
        del self.lease_ends_s[lease]
        for _, toxics in self.model.values():
            for name in [name for name, toxic in toxics.items() if toxic.lease == lease]:
                del toxics[name]

    def doubt(self, proxy: str) -> None:
        """From now on bytes of this proxy's connections may be lost."""
        for connection in self.connections:
            if connection.proxy == proxy:
                connection.faithful = False

    def cut(self, proxy: str) -> None:
        """The proxy stopped: both sides of each of its connections are told."""
        self.doubt(proxy)
        sinks = [
            flow.sink
            for connection in self.connections
            if connection.proxy == proxy
            for flow in connection.flows.values()
        ]
        for sink in sinks:
            sink.pause(False)
        for pause_s in (0.0, 0.001, 0.01, 0.1, 1.0):
            time.sleep(pause_s)
            self.wait_s(0.001)
            if all(sink.ended or sink.lost for sink in sinks):
                return
        raise AssertionError("a connection outlived its proxy")

    def wait_s(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.forget_overdue()

    @property
    def where(self) -> str:
        """The upstream's address."""
        return "{}:{}".format(*self.upstream.sockets[0].getsockname())

    @rule(name=proxies, enabled=st.booleans())
    def create(self, name: str, enabled: bool) -> None:
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": self.where, "enabled": enabled}
        status, _ = self.call("POST", "/proxies", body)
        assert status == (409 if name in self.model else 201)
        self.model.setdefault(name, (enabled, {}))

    @precondition(lambda self: not self.calm)
    @rule(name=proxies)
    def delete(self, name: str) -> None:
        status, _ = self.call("DELETE", f"/proxies/{name}")
        assert status == (204 if self.model.pop(name, None) else 404)
        self.cut(name)

    @precondition(lambda self: not self.calm)
    @rule(name=proxies, enabled=st.booleans())
    def enable(self, name: str, enabled: bool) -> None:
        status, _ = self.call("POST", f"/proxies/{name}", {"enabled": enabled})
        assert status == (200 if name in self.model else 404)
        if name in self.model:
            if not enabled:
                self.cut(name)
            self.model[name] = (enabled, self.model[name][1])

    @precondition(lambda self: not self.calm)
    @rule(name=proxies, enabled=st.booleans())
    def populate(self, name: str, enabled: bool) -> None:
        """Port 0 is no real port, so what has one is replaced and loses its toxics; else all stays."""
        is_same = name in self.model and self.registry.state(name).listen == "127.0.0.1:0"
        body = [{"name": name, "listen": "127.0.0.1:0", "upstream": self.where, "enabled": enabled}]
        assert self.call("POST", "/populate", body)[0] == 201
        if not is_same:
            self.cut(name)
            self.model[name] = (enabled, {})

    @precondition(lambda self: not self.calm)
    @rule(name=proxies)
    def move(self, name: str) -> None:
        """Another port: connections are cut, toxics stay."""
        status, _ = self.call("PATCH", f"/proxies/{name}", {"listen": "127.0.0.1:0"})
        assert status == (200 if name in self.model else 404)
        self.cut(name)

    @rule(ttl_s=st.integers(1, 60))
    def hold_lease(self, ttl_s: int) -> None:
        status, said = self.call("PUT", "/leases/l", {"ttl_s": ttl_s})
        assert (status, said["renewed"]) == (200, "l" in self.lease_ends_s)
        self.lease_ends_s["l"] = self.loop.time() + ttl_s

    @rule()
    def end_lease(self) -> None:
        status, _ = self.call("DELETE", "/leases/l")
        assert status == (204 if "l" in self.lease_ends_s else 404)
        if "l" in self.lease_ends_s:
            self.forget("l")

    @rule()
    def reset(self) -> None:
        assert self.call("POST", "/reset")[0] == 204
        self.model = {name: (True, {}) for name in self.model}

    def add(self, proxy: str, name: str, toxic: Known, toxicity: float) -> None:
        body = {
            "name": name,
            "type": toxic.kind,
            "stream": toxic.stream,
            "toxicity": toxicity,
            "attributes": toxic.attributes,
            "lease": toxic.lease,
        }
        status, _ = self.call("POST", f"/proxies/{proxy}/toxics", body)
        known = self.model.get(proxy)
        held = ("", *self.lease_ends_s)
        assert status == (
            404 if known is None else 409 if name in known[1] else 404 if toxic.lease not in held else 200
        )
        if status == 200 and known is not None:
            known[1][name] = toxic
            if toxic.kind in UNFAITHFUL:
                self.doubt(proxy)

    @rule(proxy=proxies, name=names, toxic=faithful_toxics, stream=streams, toxicity=toxicities, lease=leases)
    def add_toxic(
        self, proxy: str, name: str, toxic: tuple[str, Any], stream: str, toxicity: float, lease: str
    ) -> None:
        self.add(proxy, name, Known(toxic[0], stream, toxic[1], lease), toxicity)

    @precondition(lambda self: not self.calm)
    @rule(
        proxy=proxies, name=names, toxic=unfaithful_toxics, stream=streams, toxicity=toxicities, lease=leases
    )
    def add_unfaithful_toxic(
        self, proxy: str, name: str, toxic: tuple[str, Any], stream: str, toxicity: float, lease: str
    ) -> None:
        self.add(proxy, name, Known(toxic[0], stream, toxic[1], lease), toxicity)

    def known_or_not(self, proxy: str, index: int) -> str:
        """The name of one of the proxy's toxics, where it has any."""
        known = sorted(self.model.get(proxy, (False, {}))[1])
        return known[index % len(known)] if known else "no"

    def update(self, proxy: str, name: str, data: st.DataObject) -> None:
        toxics = self.model.get(proxy, (False, {}))[1]
        toxic = toxics.get(name, Known("noop", "", {}))
        attributes = data.draw(ALL[toxic.kind])
        status, _ = self.call("POST", f"/proxies/{proxy}/toxics/{name}", {"attributes": attributes})
        assert status == (200 if name in toxics else 404)
        if name in toxics:
            toxics[name] = replace(toxic, attributes=attributes)

    def remove(self, proxy: str, name: str) -> None:
        status, _ = self.call("DELETE", f"/proxies/{proxy}/toxics/{name}")
        assert status == (204 if self.model.get(proxy, (False, {}))[1].pop(name, None) else 404)

    @rule(proxy=proxies, index=indexes, data=st.data())
    def update_toxic(self, proxy: str, index: int, data: st.DataObject) -> None:
        self.update(proxy, self.known_or_not(proxy, index), data)

    @rule(proxy=proxies, index=indexes)
    def remove_toxic(self, proxy: str, index: int) -> None:
        self.remove(proxy, self.known_or_not(proxy, index))

    @rule(
        index=indexes,
        toxic=holding_toxics,
        stream=streams,
        sizes=st.lists(st.integers(1000, 30_000), min_size=3, max_size=5),
        update=st.booleans(),
        data=st.data(),
    )
    def say_and_change(
        self,
        index: int,
        toxic: tuple[str, Any],
        stream: str,
        sizes: list[int],
        update: bool,
        data: st.DataObject,
    ) -> None:
        """Bytes into a toxic that is changed or removed a millisecond later, while it holds them."""
        connection = self.pick(index)
        if connection is None or connection.proxy not in self.model:
            return
        proxy, name = connection.proxy, "holding"
        if name not in self.model[proxy][1]:
            self.add(proxy, name, Known(toxic[0], stream, toxic[1]), 1.0)
        for size in sizes:
            self.say(connection.flows[self.model[proxy][1][name].stream], size)
            self.wait_s(0.001)
        self.update(proxy, name, data) if update else self.remove(proxy, name)

    @precondition(lambda self: len(self.connections) < 4)
    @rule(name=proxies)
    def connect(self, name: str) -> None:
        if not self.model.get(name, (False, {}))[0]:
            return
        host, _, port = self.registry.state(name).listen.rpartition(":")
        before = len(self.accepted)
        client = self.loop.run_until_complete(self.loop.create_connection(Peer, host, int(port)))[1]
        self.wait_s(0.001)
        assert len(self.accepted) == before + 1, "the proxy did not dial"
        upstream = self.accepted[-1]
        flows = {"upstream": Flow(client, upstream), "downstream": Flow(upstream, client)}
        faithful = not any(toxic.kind in UNFAITHFUL for toxic in self.model[name][1].values())
        self.connections.append(Connection(name, flows, faithful))

    def pick(self, index: int) -> Connection | None:
        return self.connections[index % len(self.connections)] if self.connections else None

    @rule(index=indexes, stream=streams, size=st.integers(1, 60_000))
    def send(self, index: int, stream: str, size: int) -> None:
        connection = self.pick(index)
        if connection is not None:
            self.say(connection.flows[stream], size)

    def say(self, flow: Flow, size: int) -> None:
        if flow.ended or flow.source.lost:
            return
        data = self.bytes.randbytes(size)
        flow.sent += data
        flow.source.transport.write(data)

    @rule(index=indexes, stream=streams)
    def half_close(self, index: int, stream: str) -> None:
        connection = self.pick(index)
        if connection is None:
            return
        flow = connection.flows[stream]
        if not flow.ended and not flow.source.lost:
            flow.ended = True
            with contextlib.suppress(OSError):  # the proxy has hung up, and nobody has told the peer yet
                flow.source.transport.write_eof()

    @precondition(lambda self: not self.calm)
    @rule(index=indexes, stream=streams, reset=st.booleans())
    def hang_up(self, index: int, stream: str, reset: bool) -> None:
        connection = self.pick(index)
        if connection is None:
            return
        connection.faithful = False
        source = connection.flows[stream].source
        if not source.lost:
            if reset:
                source.transport.abort()
            else:
                source.transport.close()

    @rule(index=indexes, stream=streams, paused=st.booleans())
    def read_or_not(self, index: int, stream: str, paused: bool) -> None:
        connection = self.pick(index)
        if connection is not None:
            connection.flows[stream].sink.pause(paused)

    @rule(index=indexes, stream=streams)
    def flood(self, index: int, stream: str) -> None:
        """More than all buffers take while nobody reads, so that the source has to wait and to go on."""
        connection = self.pick(index)
        if connection is not None and len(connection.flows[stream].sent) < FLOOD_BYTES:
            connection.flows[stream].sink.pause(True)
            self.say(connection.flows[stream], FLOOD_BYTES)
            self.wait_s(0.001)
            connection.flows[stream].sink.pause(False)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3]))
    def time_passes(self, seconds: float) -> None:
        self.wait_s(seconds)

    @rule()
    def everything_arrives(self) -> None:
        """Faithful connections are whole in the end, and still open unless both sides have ended."""
        for connection in self.connections:
            for flow in connection.flows.values():
                flow.sink.pause(False)
        faithful = [connection for connection in self.connections if connection.faithful]
        step_s = 1.0
        while step_s < PLENTY_S and not all(connection.whole for connection in faithful):
            time.sleep(step_s * KERNEL_RATIO)
            self.wait_s(step_s)
            step_s *= 2.0
        for connection in faithful:
            assert connection.whole, {
                stream: (len(flow.sink.received), len(flow.sent), flow.ended, flow.sink.ended)
                for stream, flow in connection.flows.items()
            }
            if not all(flow.ended for flow in connection.flows.values()):
                assert not any(flow.sink.lost for flow in connection.flows.values())

    @invariant()
    def nothing_twice_nothing_out_of_order(self) -> None:
        for connection in self.connections:
            for flow in connection.flows.values():
                assert flow.sent.startswith(flow.sink.received)

    @invariant()
    def the_api_says_what_the_model_says(self) -> None:
        _, said = self.call("GET", "/proxies")
        found = {
            name: (
                proxy["enabled"],
                {
                    each["name"]: Known(
                        each["type"], each["stream"], each["attributes"], each.get("lease", "")
                    )
                    for each in proxy["toxics"]
                },
            )
            for name, proxy in said.items()
        }
        assert found == self.model

    def teardown(self) -> None:
        try:
            self.everything_arrives()
            for name in list(self.model):
                self.delete(name)
            for connection in self.connections:
                for flow in connection.flows.values():
                    flow.source.transport.abort()
            self.wait_s(60.0)
            assert self.registry.held.bytes == 0
            assert all(peer.lost for peer in self.accepted)
        finally:
            self.upstream.close()
            self.loop.run_until_complete(self.registry.stop())
            self.wait_s(1.0)
            left = asyncio.all_tasks(self.loop)
            self.loop.close()
            asyncio.set_event_loop(None)
            assert not left


WAYS = settings(max_examples=100, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestProxyMachine = ProxyMachine.TestCase
TestProxyMachine.settings = WAYS


def lose_on_leaving(stage: Stage) -> None:
    """A toxic that leaves with what it holds."""
    stage.take_all()


def lose_on_change(stage: Stage, attributes: Any) -> None:
    """A toxic that forgets what it holds when it changes."""
    stage.take_all()
    stage.attributes = attributes


def hand_on_twice(stage: Stage) -> None:
    """A toxic that, leaving, says its last words twice."""
    for chunk in stage.take_all():
        stage.next.feed(chunk)
        stage.next.feed(chunk)


@pytest.mark.parametrize(
    ("method", "broken"),
    [("leave", lose_on_leaving), ("configure", lose_on_change), ("leave", hand_on_twice)],
    ids=["loses when removed", "loses when changed", "duplicates"],
)
def test_the_machine_finds_a_broken_toxic(method: str, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: toxics that lose or repeat what they hold do not get past it."""
    monkeypatch.setattr(Stage, method, broken)
    many = settings(WAYS, max_examples=3000, phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises(Exception, match=r"assert|sub-exceptions"):
        run_state_machine_as_test(ProxyMachine, settings=many)  # type: ignore[no-untyped-call]
