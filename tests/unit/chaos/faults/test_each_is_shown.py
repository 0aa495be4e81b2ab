"""Every fault of the catalogue is shown on real processes, and the claim cannot rot."""

from __future__ import annotations

from chaos.faults import fault_kinds, parse_fault
from tests.scenario.faults.cases import CASES


def test_every_kind_has_a_case() -> None:
    """A fault that nobody has shown is not in the catalogue: say in CASES how a client sees it."""
    assert set(CASES) == set(fault_kinds())


def test_every_case_is_a_fault_that_can_say_whether_it_bit() -> None:
    """One that cannot makes every run inconclusive."""
    for kind, case in CASES.items():
        fault = parse_fault("mine", {"on": case.on, "kind": kind, **case.raw})
        assert fault.expects(), kind
