"""Undo records of faults on processes, without any process: the rules of reading them."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.processes import ProcessFaultError, undoing
from chaos.safety.undo import perform
from chaos.stack.process import ProcessIdentity

NOBODY = {"pid": 2**22 + 1, "created_s": 1.0, "soft": 64, "hard": 64}
DOES = ["resume", "end", "limit_files", "start_part"]


@pytest.mark.parametrize("do", DOES)
def test_a_process_that_is_gone_took_its_fault_with_it(do: str) -> None:
    """Undone is undone, however often it is asked for; the answer says what was found."""
    record = {"do": do, "part": "llm", "processes": [NOBODY]}
    first, second = perform(record), perform(record)
    assert first == second
    assert "gone" in first or "stack is being stopped" in first


@pytest.mark.parametrize("do", DOES)
@pytest.mark.parametrize(
    "processes",
    [None, 7, [7], [{}], [{"pid": "x", "created_s": 1.0}], [{"pid": 1}], [{"pid": None, "created_s": 1.0}]],
    ids=str,
)
def test_a_record_that_cannot_be_read_is_an_error(do: str, processes: Any) -> None:
    """The fault may still be in, so a bad record is never taken for done."""
    with pytest.raises(ProcessFaultError, match="cannot be read"):
        perform({"do": do, "processes": processes})


def test_a_limit_without_a_number_to_go_back_to_is_an_error() -> None:
    """There is nothing that it could be set to."""
    with pytest.raises(ProcessFaultError, match="needs a soft limit"):
        perform({"do": "limit_files", "processes": [{"pid": NOBODY["pid"], "created_s": 1.0}]})


def test_all_gone_wants_a_record_and_nobody_of_it_alive() -> None:
    """An empty or broken record proves nothing; one living process keeps the fault in."""
    me = ProcessIdentity.of_this_process()
    mine = {"pid": me.pid, "created_s": me.created_s}
    assert undoing.all_gone({"processes": [NOBODY]})
    assert not undoing.all_gone({"processes": [NOBODY, mine]})
    assert not undoing.all_gone({"processes": []})
    assert not undoing.all_gone({"do": "enable", "api": "http://h:1"})
