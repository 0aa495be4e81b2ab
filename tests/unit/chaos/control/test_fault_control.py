"""Faults go in and come out in an order that leaves none without a written way to undo it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.control.controls import Controls
from chaos.control.fault_control import AGAIN_AFTER_S, GONE_LOOKS, REMOVE_TRIES, FaultControl
from chaos.control.fault_proxy import FaultProxyError, ProxyHungError, ProxyMissingError, ProxyState, Toxic
from chaos.errors import EnvironmentFailure
from chaos.faults import parse_fault
from chaos.run.journal import Journal, outstanding_undos, read
from tests.clocks import SteppingClock


class ProxyInMemory:
    """The calls of the Toxiproxy client that a latency fault makes, on a dictionary."""

    api = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.held: dict[str, Toxic] = {}
        self.refuses: set[str] = set()
        self.hangs: list[str] = []
        """What the next calls are that fail after they were carried out."""
        self.still_shows = 0

    def add_toxic(self, proxy: str, toxic: Toxic) -> Toxic:
        del proxy
        if toxic.name in self.refuses:
            raise FaultProxyError("add a toxic", "no")
        self.held[toxic.name] = toxic
        return toxic

    def remove_toxic(self, proxy: str, toxic: str) -> None:
        del proxy
        if f"remove {toxic}" in self.refuses:
            raise FaultProxyError("remove a toxic", "no")
        if toxic not in self.held:
            raise ProxyMissingError("remove a toxic", "no such toxic", status=404)
        gone = self.held.pop(toxic)
        if self.hangs:
            if self.hangs.pop() == "before":
                self.held[toxic] = gone
            raise ProxyHungError("remove a toxic", "no answer")

    def toxics(self, proxy: str) -> dict[str, Toxic]:
        del proxy
        if self.still_shows:
            self.still_shows -= 1
            return {name: Toxic(name, "latency") for name in ("slow", "slower")}
        return dict(self.held)

    def proxy(self, name: str) -> ProxyState:
        return ProxyState(name, "127.0.0.1:2", "127.0.0.1:3", True, tuple(self.held.values()))


@pytest.fixture
def proxy() -> ProxyInMemory:
    return ProxyInMemory()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def control(proxy: ProxyInMemory, journal: Journal) -> FaultControl:
    raw = {"on": "vector_db", "kind": "latency", "latency": "1s"}
    faults = {name: parse_fault(name, raw) for name in ("slow", "slower")}
    return FaultControl(faults, Controls(proxy), journal, SteppingClock())  # type: ignore[arg-type]


def events(journal: Journal) -> list[str]:
    return [entry["event"] for entry in read(journal.path)]


def test_the_undo_is_on_disk_before_the_fault_is_in(
    control: FaultControl, proxy: ProxyInMemory, journal: Journal
) -> None:
    """A runner that dies while injecting leaves word of what to undo."""
    proxy.refuses.add("slow")
    with pytest.raises(EnvironmentFailure, match="slow could not be injected"):
        control.inject("slow")

    assert events(journal) == ["undo.declared"]
    assert [one.fault for one in outstanding_undos(read(journal.path))] == ["slow"]


def test_in_and_out_leaves_nothing_outstanding(
    control: FaultControl, proxy: ProxyInMemory, journal: Journal
) -> None:
    """The journal tells the whole life of a fault, in order."""
    control.inject("slow")
    control.remove("slow")

    assert events(journal) == [
        "undo.declared",
        "fault.injected",
        "fault.verified",
        "fault.removed",
        "fault.verified_gone",
    ]
    assert proxy.held == {}
    assert outstanding_undos(read(journal.path)) == []


def test_switching_touches_only_what_changes(control: FaultControl, journal: Journal) -> None:
    """A fault that two phases share is not taken out between them."""
    control.switch_to(["slow"])
    control.switch_to(["slow", "slower"])
    control.switch_to(["slower"])

    assert control.active == ("slower",)
    assert events(journal).count("fault.injected") == 2
    assert events(journal).count("fault.removed") == 1


def test_what_went_in_last_comes_out_first(control: FaultControl, journal: Journal) -> None:
    """A later fault may stand in the way of an earlier one's removal, as a pause of its process does."""
    control.switch_to(["slow", "slower"])
    control.switch_to([])

    removed = [entry["fault"] for entry in read(journal.path) if entry["event"] == "fault.removed"]
    assert removed == ["slower", "slow"]


def test_a_fault_that_cannot_be_removed_stays_outstanding(
    control: FaultControl, proxy: ProxyInMemory, journal: Journal
) -> None:
    """Nobody believes that it is gone until it was seen to be gone."""
    control.inject("slow")
    proxy.refuses.add("remove slow")
    with pytest.raises(EnvironmentFailure, match="could not be removed"):
        control.switch_to([])

    assert control.active == ("slow",)
    assert [one.fault for one in outstanding_undos(read(journal.path))] == ["slow"]


@pytest.mark.parametrize("hung", ["before", "after"])
def test_a_removal_that_hangs_is_tried_again(
    control: FaultControl, proxy: ProxyInMemory, journal: Journal, hung: str
) -> None:
    """Nobody knows whether the call was carried out; what is missing the second time, the first removed."""
    control.inject("slow")
    proxy.hangs = [hung]
    control.remove("slow")

    assert proxy.held == {} and outstanding_undos(read(journal.path)) == []
    assert events(journal)[-2:] == ["fault.removed", "fault.verified_gone"]


def test_a_proxy_that_goes_on_hanging_is_an_error(control: FaultControl, proxy: ProxyInMemory) -> None:
    """The tries are bounded."""
    control.inject("slow")
    proxy.hangs = ["before"] * REMOVE_TRIES
    with pytest.raises(EnvironmentFailure, match="slow could not be removed"):
        control.remove("slow")


def test_a_fault_that_somebody_else_took_out_is_no_success(
    control: FaultControl, proxy: ProxyInMemory
) -> None:
    """It was not in for as long as the journal would say, and the run with it proves something else."""
    control.inject("slow")
    proxy.held.clear()
    with pytest.raises(EnvironmentFailure, match="no such toxic"):
        control.remove("slow")


def test_gone_is_what_was_seen_to_be_gone(
    control: FaultControl, proxy: ProxyInMemory, journal: Journal
) -> None:
    """What still shows is looked at again for a while, as the journal tells; then it is an error."""
    control.inject("slow")
    proxy.still_shows = 3
    control.remove("slow")
    gone = read(journal.path)[-1]
    assert (gone["event"], gone["looks"]) == ("fault.verified_gone", 4)
    assert gone["took_s"] == pytest.approx(3 * AGAIN_AFTER_S)

    control.inject("slower")
    proxy.still_shows = GONE_LOOKS
    with pytest.raises(EnvironmentFailure, match="still shows"):
        control.remove("slower")
    assert [one.fault for one in outstanding_undos(read(journal.path))] == ["slower"]


def test_what_was_seen_of_a_fault_goes_into_the_journal(
    journal: Journal, proxy: ProxyInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes a fault out says what it did; a fault on bytes says nothing."""
    fault = parse_fault("slow", {"on": "vector_db", "kind": "latency", "latency": "1s"})
    control = FaultControl({"slow": fault}, Controls(proxy), journal)  # type: ignore[arg-type]
    control.inject("slow")
    control.remove("slow")
    assert "observed" not in next(one for one in read(journal.path) if one["event"] == "fault.removed")

    control.inject("slow")
    removed = type(fault).remove
    monkeypatch.setattr(type(fault), "remove", lambda *each: removed(*each) or {"bit": True})
    control.remove("slow")
    last = [one for one in read(journal.path) if one["event"] == "fault.removed"][-1]
    assert last["observed"] == {"bit": True}


def test_before_the_stack_goes_faults_are_withdrawn_by_their_records(
    control: FaultControl, journal: Journal
) -> None:
    """Nothing is waited for; the newest goes first; what can be undone is not outstanding any more."""
    control.switch_to(["slow", "slower"])
    control.withdraw()
    assert control.active == () and outstanding_undos(read(journal.path)) == []
    gone = [one["fault"] for one in read(journal.path) if one["event"] == "fault.verified_gone"]
    assert gone == ["slower", "slow"]
    control.withdraw()
    assert events(journal).count("fault.verified_gone") == 2


def test_what_went_wrong_while_going_in_is_withdrawn_as_well(
    control: FaultControl, proxy: ProxyInMemory, journal: Journal
) -> None:
    """A fault that may be in half-way has its record, and that is enough."""
    proxy.refuses.add("slow")
    with pytest.raises(EnvironmentFailure):
        control.inject("slow")
    control.withdraw()
    assert outstanding_undos(read(journal.path)) == []
