"""The registry against a model of it: whatever is asked, in whatever order, both must agree."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chaos.control.fault_proxy import Toxic
from chaos.proxy.asked import ProxyInput, RefusedError
from chaos.proxy.registry import Registry

names = st.sampled_from(["a", "b", "c"])
toxic_names = st.sampled_from(["t", "u"])
streams = st.sampled_from(["upstream", "downstream"])


class RegistryMachine(RuleBasedStateMachine):
    """The model is a dict: name to (enabled, {toxic: (stream, latency)})."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.registry = Registry(random.Random(1))
        self.model: dict[str, list[Any]] = {}

    def ask(self, coroutine: Any, status: int | None) -> None:
        """Run a request; it must succeed, or be refused with this status."""
        if status is None:
            self.loop.run_until_complete(coroutine)
            return
        with pytest.raises(RefusedError) as caught:
            self.loop.run_until_complete(coroutine)
        assert caught.value.status == status

    @rule(name=names, enabled=st.booleans())
    def create(self, name: str, enabled: bool) -> None:
        wanted = ProxyInput(name, "127.0.0.1:0", "127.0.0.1:9", enabled)
        self.ask(self.registry.create(wanted), 409 if name in self.model else None)
        self.model.setdefault(name, [enabled, {}])

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.ask(self.registry.delete(name), None if name in self.model else 404)
        self.model.pop(name, None)

    @rule(name=names, enabled=st.booleans())
    def enable(self, name: str, enabled: bool) -> None:
        if name in self.model:
            now = self.registry.state(name)
            self.ask(self.registry.update(name, now.listen, now.upstream, enabled), None)
            self.model[name][0] = enabled
        else:
            self.ask(self.registry.update(name, "127.0.0.1:0", "x:1", enabled), 404)

    @rule(name=names, toxic=toxic_names, stream=streams, latency=st.integers(0, 9))
    def add_toxic(self, name: str, toxic: str, stream: str, latency: int) -> None:
        known = self.model.get(name)
        status = 404 if known is None else 409 if toxic in known[1] else None
        self.ask(self.registry.add_toxic(name, Toxic(toxic, "latency", stream), {"latency": latency}), status)
        if status is None and known is not None:
            known[1][toxic] = (stream, latency)

    @rule(name=names, toxic=toxic_names, latency=st.integers(0, 9), right=st.booleans())
    def update_toxic(self, name: str, toxic: str, latency: int, right: bool) -> None:
        known = self.model.get(name, [None, {}])[1]
        status = 404 if toxic not in known else None if right else 400
        asked = {"latency": latency} if right else {"latency": latency, "latncy": 1}
        self.ask(self.registry.update_toxic(name, toxic, 1.0, asked), status)
        if status is None:
            known[toxic] = (known[toxic][0], latency)

    @rule(name=names, toxic=toxic_names)
    def remove_toxic(self, name: str, toxic: str) -> None:
        known = self.model.get(name, [None, {}])[1]
        self.ask(self.registry.remove_toxic(name, toxic), None if toxic in known else 404)
        known.pop(toxic, None)

    @rule()
    def reset(self) -> None:
        self.ask(self.registry.reset(), None)
        for known in self.model.values():
            known[:] = [True, {}]

    @rule(chosen=st.lists(names, max_size=3, unique=True), enabled=st.booleans())
    def populate(self, chosen: list[str], enabled: bool) -> None:
        """Port 0 differs from a real port, so only a proxy that never listened stays as it is."""
        fresh = {state.name for state in self.registry.states() if state.listen.endswith(":0")}
        wanted = [ProxyInput(name, "127.0.0.1:0", "127.0.0.1:9", enabled) for name in chosen]
        done = self.loop.run_until_complete(self.registry.populate(wanted))
        assert done.refused is None
        assert [state.name for state in done.proxies] == chosen
        self.model.update({name: [enabled, {}] for name in chosen if name not in fresh})

    @invariant()
    def both_agree(self) -> None:
        states = {state.name: state for state in self.registry.states()}
        assert sorted(states) == sorted(self.model)
        for name, (enabled, toxics) in self.model.items():
            state = states[name]
            assert state.enabled == enabled
            assert {each.name: (each.stream, each.attributes["latency"]) for each in state.toxics} == toxics
            assert [each.stream for each in state.toxics] == sorted(
                (each.stream for each in state.toxics), reverse=True
            )
            if enabled:
                assert not state.listen.endswith(":0")

    def teardown(self) -> None:
        self.loop.run_until_complete(self.registry.stop())
        self.loop.close()


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=40, stateful_step_count=20)


@pytest.mark.parametrize("toxicity", [-0.1, 1.1])
def test_a_toxicity_outside_0_to_1_is_refused(toxicity: float) -> None:
    """A chance is a chance."""

    async def add() -> None:
        registry = Registry(random.Random(1))
        await registry.create(ProxyInput("p", "127.0.0.1:0", "x:1", False))
        with pytest.raises(RefusedError, match=r"within 0\.\.1"):
            await registry.add_toxic("p", Toxic("t", "latency", toxicity=toxicity), {})
        assert registry.state("p").toxics == ()

    asyncio.run(add())
