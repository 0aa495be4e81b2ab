"""Faults on processes as an experiment writes them; what they do is shown on real ones in tests/scenario."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaos.control.controls import Controls
from chaos.control.fault_control import FaultControl
from chaos.control.toxiproxy import Toxiproxy
from chaos.errors import EnvironmentFailure
from chaos.faults import fault_kinds, parse_fault
from chaos.processes import Processes
from chaos.run.journal import Journal, read

KINDS = sorted(kind for kind, fault in fault_kinds().items() if fault.needs == "processes")
NEEDED: dict[str, dict[str, Any]] = {"memory_pressure": {"mib": 100}}


def fault(kind: str, on: str = "llm", **raw: Any) -> Any:
    return parse_fault("mine", {"on": on, "kind": kind, **NEEDED.get(kind, {}), **raw})


@pytest.mark.parametrize("kind", KINDS)
def test_they_act_on_the_service_as_well_but_on_nothing_that_measures(kind: str) -> None:
    """A paused proxy or generator would be a fault in the measurement."""
    for on in ("service", "vector_db", "llm"):
        assert fault(kind, on).on == on
    with pytest.raises(ValidationError, match=r"'proxy' is not a part .* allowed: service, vector_db, llm"):
        fault(kind, "proxy")


@pytest.mark.parametrize(
    ("kind", "raw", "message"),
    [
        ("cpu_hog", {"workers": 0}, "workers: processes; 1 to 64"),
        ("cpu_hog", {"workers": 65}, "workers: processes; 1 to 64"),
        ("cpu_hog", {"share": "0%"}, "share: of one core"),
        ("cpu_hog", {"share": "101%"}, "share: of one core"),
        ("cpu_hog", {"share": 0.5}, "is not a ratio; write a percentage"),
        ("cpu_hog", {"above": -1}, "above: steps of nice"),
        ("memory_pressure", {"mib": 0}, "mib: MiB to hold"),
        ("memory_pressure", {"mib": "100"}, "mib: MiB to hold"),
        ("file_descriptors", {"leave": -1}, "leave: descriptors"),
        ("restart", {"grace": "2h"}, "out of bounds; allowed is 0 ms to 10 m"),
        ("pause", {"stream": "upstream"}, "'stream' is not a parameter of pause"),
    ],
)
def test_impossible_sizes_are_refused_with_what_is_allowed(
    kind: str, raw: dict[str, Any], message: str
) -> None:
    """Before anything starts, with the bounds."""
    with pytest.raises(ValidationError, match=message):
        fault(kind, **raw)


@pytest.mark.parametrize(
    ("on", "segment"), [("service", "journey"), ("vector_db", "search"), ("llm", "generate")]
)
def test_each_says_where_and_how_it_shows(on: str, segment: str) -> None:
    """Calls of what is dead fail, of what stands still are held; the rest is the kernel's to tell."""
    assert fault("kill", on).expects() == {"segment": segment, "errors": True}
    assert fault("pause", on).expects() == {"segment": segment, "held": True}
    for kind in ("restart", "cpu_hog", "memory_pressure", "file_descriptors"):
        assert fault(kind, on).expects() == {"segment": segment, "evidence": True}


def test_sizes_are_plain_numbers() -> None:
    """For the journal and the report."""
    assert fault("cpu_hog", workers=2).parameters() == {"workers": 2, "share_ratio": 1.0, "above_nice": 0}
    assert fault("cpu_hog", share="25%").parameters()["share_ratio"] == 0.25
    assert fault("restart", grace="500ms").parameters() == {"grace_s": 0.5}
    assert fault("memory_pressure").parameters() == {"mib": 100}
    assert fault("file_descriptors", leave=4).parameters() == {"leave": 4}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_of_containers_refuses_before_anything_is_written(kind: str, tmp_path: Any) -> None:
    """The journal has no undo for what was never done, and the message names the fault."""
    at = Controls(Toxiproxy("http://127.0.0.1:9"), processes=Processes(why="they run in containers"))
    journal = Journal(tmp_path / "journal.jsonl")
    control = FaultControl({"mine": fault(kind)}, at, journal)
    with pytest.raises(EnvironmentFailure, match=r"fault mine could not be injected: .*run in containers"):
        control.inject("mine")
    with pytest.raises(EnvironmentFailure, match=r"fault mine cannot be done here: .*run in containers"):
        control.check()
    assert read(journal.path) == [] and control.active == ()
