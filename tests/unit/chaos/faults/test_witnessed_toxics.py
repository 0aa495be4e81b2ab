"""A toxic that no span must show bit where the proxy's evidence says so, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chaos.control.builtin_proxy import BuiltinProxy, Page, Record, Strike
from chaos.control.controls import Controls
from chaos.control.fault_proxy import FaultProxyError, Toxic
from chaos.control.toxiproxy import Toxiproxy
from chaos.faults import fault_kinds, parse_fault
from chaos.faults.witnessed_toxic import WitnessedToxic

PAGE = 2_000


class Told(BuiltinProxy):
    """A built-in proxy without a server: toxics vanish, evidence is what the test says."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.records: list[Record] = []
        self.began_s = 1.0
        self.room = 20_000
        self.breaks = False

    def add_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        del proxy
        return toxic

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        pass

    def evidence(self, after: int = 0, limit: int = 1_000) -> Page:
        if self.breaks:
            raise FaultProxyError("GET /evidence", "no answer within 5 s")
        kept = self.records[-self.room :]
        dropped = max(0, kept[0].seq - after - 1) if kept else 0
        return Page(tuple([one for one in kept if one.seq > after][:limit]), dropped, self.began_s)

    def tell(self, *strikes: Strike, proxy: str = "llm", request: int | None = None, times: int = 1) -> None:
        for _ in range(times):
            seq = len(self.records) + 1
            self.records.append(Record(seq, 1.0, 2.0, proxy, seq, request, None, None, None, None, strikes))


def strike(name: str = "mine", **facts: Any) -> Strike:
    return Strike(**{"name": name, "type": "", "delay_s": 0.2, "bytes": 5_000, **facts})


RAW: Mapping[str, Mapping[str, Any]] = {
    "bandwidth": {"rate": 20},
    "limit_data": {"bytes": 100},
    "slicer": {"average_size": 10},
    "slow_close": {"delay": "1s"},
}


@pytest.fixture(params=list(RAW))
def fault(request: pytest.FixtureRequest) -> WitnessedToxic:
    made = parse_fault("mine", {"on": "llm", "kind": request.param, **RAW[request.param]})
    assert isinstance(made, WitnessedToxic)
    return made


def observed(fault: WitnessedToxic, proxy: Toxiproxy, name: str = "mine") -> Mapping[str, Any]:
    return fault.remove(Controls(proxy), name)


def test_every_toxic_that_claims_nothing_of_a_span_has_a_witness() -> None:
    """Its bite can be told at all: a fault that cannot say how it shows makes every run inconclusive."""
    assert {kind for kind, one in fault_kinds().items() if issubclass(one, WitnessedToxic)} == set(RAW)


def test_what_was_told_of_it_since_it_went_in_is_its_bite(fault: WitnessedToxic) -> None:
    """A turn before this one, another's deeds, another proxy's and those on requests are not its own."""
    proxy = Told()
    proxy.tell(strike(), times=2 * PAGE)
    fault.inject(Controls(proxy), "mine")
    proxy.tell(strike("other"))
    proxy.tell(strike(), proxy="vector_db")
    proxy.tell(strike(), request=1)
    assert observed(fault, proxy)["bit"] is False
    fault.inject(Controls(proxy), "mine")
    proxy.tell(strike("other"), strike(), times=fault.least)
    facts = observed(fault, proxy)
    assert (facts["connections"], facts["bit"]) == (fault.least, True)


def test_connections_that_it_did_not_touch_are_no_bite(fault: WitnessedToxic) -> None:
    """The negative control: it was in, traffic went through, nothing was done to it."""
    proxy = Told()
    fault.inject(Controls(proxy), "mine")
    assert observed(fault, proxy) == {"connections": 0, "bytes": 0, "longest_s": 0.0, "bit": False}


def test_what_nobody_can_tell_is_neither_a_bite_nor_none(fault: WitnessedToxic) -> None:
    """Toxiproxy keeps no account; a proxy that began anew or forgot has none that reaches back."""
    started_anew, forgetful, broken, unwatched = Told(), Told(), Told(), Told()
    for proxy in (started_anew, forgetful, broken):
        fault.inject(Controls(proxy), "mine")
    started_anew.began_s = 9.0
    forgetful.tell(strike("other"), times=30)
    forgetful.room = 10
    broken.breaks = True
    for proxy in (started_anew, forgetful, broken, unwatched):
        assert set(observed(fault, proxy)) == {"unknown"}


def test_toxiproxy_says_where_to_ask_instead(fault: WitnessedToxic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal, and with it the verdict, names what can tell."""
    monkeypatch.setattr(Toxiproxy, "remove_toxic", lambda *_: None)
    assert "RAGQUAKE_PROXY=builtin" in observed(fault, Toxiproxy("http://127.0.0.1:1"))["unknown"]


@pytest.mark.parametrize(
    ("rate", "delay_s", "size", "is_felt"),
    [(20, 0.1, 2_000, True), (10_000_000, 0.1, 2_000, False), (20, 0.001, 2_000, False)],
)
def test_a_pipe_that_is_wide_enough_is_not_felt(rate: int, delay_s: float, size: int, is_felt: bool) -> None:
    """A busy machine holds bytes up as well; that is not the fault's doing."""
    fault = parse_fault("mine", {"on": "llm", "kind": "bandwidth", "rate": rate})
    assert isinstance(fault, WitnessedToxic)
    assert fault.felt(strike(delay_s=delay_s, bytes=size)) is is_felt
