"""Faults that flap and ramp are in exactly when their schedule says, and never without a written undo."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.control.controls import Controls
from chaos.control.fault_control import FaultControl
from chaos.control.fault_proxy import FaultProxyError, ProxyState, Toxic
from chaos.errors import EnvironmentFailure
from chaos.faults import Fault, parse_fault
from chaos.run.journal import Journal, outstanding_undos, read

TICK_S = 0.25


class Time:
    now_s = 1000.0

    def unix_s(self) -> float:
        return self.now_s

    monotonic_s = unix_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Proxy:
    """A proxy's toxics; it looks into the journal before it lets one in."""

    api = "http://127.0.0.1:1"

    def __init__(self, journal: Path) -> None:
        self.held: dict[str, Toxic] = {}
        self.journal = journal
        self.refuses = False

    def add_toxic(self, proxy: str, toxic: Toxic) -> None:
        del proxy
        assert toxic.name in {one.fault for one in outstanding_undos(read(self.journal))}
        assert toxic.name not in self.held
        self.held[toxic.name] = toxic

    def update_toxic(self, proxy: str, toxic: Toxic) -> None:
        del proxy
        if self.refuses:
            raise FaultProxyError("change it", "no")
        assert toxic.name in self.held
        self.held[toxic.name] = toxic

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        del proxy
        self.held.pop(toxic)

    def toxics(self, proxy: str) -> dict[str, Toxic]:
        del proxy
        return dict(self.held)

    def proxy(self, name: str) -> ProxyState:
        return ProxyState(name, "127.0.0.1:2", "127.0.0.1:3", True, tuple(self.held.values()))


@contextmanager
def bench(**faults: dict[str, Any]) -> Iterator[tuple[FaultControl, Proxy, Time, Path]]:
    """A control over these faults, the proxy and the clock that it acts on, and its journal."""
    with tempfile.TemporaryDirectory() as folder:
        path, time = Path(folder) / "journal.jsonl", Time()
        with Journal(path, time) as journal:
            proxy = Proxy(path)
            known: dict[str, Fault] = {
                name: parse_fault(name, {"on": "vector_db", **raw}) for name, raw in faults.items()
            }
            at = Controls(proxy)  # type: ignore[arg-type]
            yield FaultControl(known, at, journal, time), proxy, time, path


def told(journal: Path, fault: str) -> list[str]:
    return [one["event"] for one in read(journal) if one.get("fault") == fault]


THIN = {"kind": "bandwidth", "rate": 10}


@settings(max_examples=30)
@given(
    on_ms=st.integers(500, 4000),
    off_ms=st.integers(500, 4000),
    ticks=st.lists(st.sampled_from([TICK_S, TICK_S, TICK_S, 7.3]), max_size=40),
)
def test_after_each_tick_a_fault_is_in_exactly_when_its_schedule_says(
    on_ms: int, off_ms: int, ticks: list[float]
) -> None:
    """Also after a tick that came late; each injection has its undo before it and its end after it."""
    flap = {"on": f"{on_ms}ms", "off": f"{off_ms}ms"}
    with bench(flapping=THIN | {"flap": flap}, steady=THIN) as (control, proxy, time, journal):
        began_s = time.now_s
        control.switch_to(["flapping", "steady"])
        for seconds in ticks:
            time.sleep(seconds)
            control.tick()
            is_in = (time.now_s - began_s) % ((on_ms + off_ms) / 1e3) < on_ms / 1e3
            assert ("flapping" in proxy.held, "steady" in proxy.held) == (is_in, True)
            assert set(control.active) == set(proxy.held)
        control.switch_to([])
        control.tick()
        assert proxy.held == {} and outstanding_undos(read(journal)) == []
        life = ["undo.declared", "fault.injected", "fault.verified", "fault.removed", "fault.verified_gone"]
        events = told(journal, "flapping")
        assert events == life * (len(events) // len(life))
        assert told(journal, "steady") == life


def test_a_ramp_moves_once_a_second_and_is_read_back() -> None:
    """The journal has each step with what the proxy says; the undo is the one of the beginning."""
    thin = {"kind": "bandwidth", "ramp": {"rate": [100, 70], "over": "3s"}}
    with bench(thin=thin) as (control, proxy, time, journal):
        control.switch_to(["thin"])
        rates = []
        for _ in range(24):
            time.sleep(TICK_S)
            control.tick()
            rates.append(proxy.held["thin"].attributes["rate"])
        assert rates == [100] * 3 + [90] * 4 + [80] * 4 + [70] * 13
        changes = [one for one in read(journal) if one["event"] == "fault.changed"]
        assert [one["parameters"]["rate_kb_per_s"] for one in changes] == [90, 80, 70]
        assert [one["read_back"]["rate"] for one in changes] == [90, 80, 70]
        assert [one.fault for one in outstanding_undos(read(journal))] == ["thin"]
        control.switch_to([])
        assert proxy.held == {} and told(journal, "thin").count("undo.declared") == 1


def test_a_fault_that_flaps_and_ramps_comes_back_as_far_as_its_ramp_went() -> None:
    """The ramp's clock goes on while the fault is out, and both go on into the next phase."""
    raw = {"kind": "bandwidth", "ramp": {"rate": [100, 1], "over": "10s"}, "flap": {"on": "2s", "off": "2s"}}
    with bench(thin=raw) as (control, proxy, time, _):
        control.switch_to(["thin"])
        time.sleep(3)
        control.tick()
        assert proxy.held == {}
        control.switch_to(["thin"])
        assert proxy.held == {}
        time.sleep(2)
        control.tick()
        assert proxy.held["thin"].attributes["rate"] == round(100 - 99 * 0.5)
        control.switch_to([])
        time.sleep(1)
        control.switch_to(["thin"])
        assert proxy.held["thin"].attributes["rate"] == 100


def test_a_fault_that_is_out_by_its_schedule_is_not_withdrawn() -> None:
    """Nothing of it is left to undo."""
    with bench(thin=THIN | {"flap": {"on": "1s", "off": "1s"}}) as (control, proxy, time, journal):
        control.switch_to(["thin"])
        time.sleep(1.5)
        control.tick()
        before = read(journal)
        control.withdraw()
        assert proxy.held == {} and read(journal) == before


def test_a_ramp_that_cannot_be_moved_on_is_an_error_of_the_run() -> None:
    """A fault that is not what the journal says proves nothing; its undo is still outstanding."""
    thin = {"kind": "bandwidth", "ramp": {"rate": [100, 70], "over": "3s"}}
    with bench(thin=thin) as (control, proxy, time, journal):
        control.switch_to(["thin"])
        proxy.refuses = True
        time.sleep(1)
        with pytest.raises(EnvironmentFailure, match="thin could not be changed"):
            control.tick()
        assert [one.fault for one in outstanding_undos(read(journal))] == ["thin"]
