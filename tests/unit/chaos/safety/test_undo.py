from __future__ import annotations

import pytest

from chaos.control.toxiproxy import FaultProxyError
from chaos.safety.undo import perform


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"do": "explode"},
        {"do": "remove_toxic"},
        {"do": "remove_toxic", "api": "nowhere", "proxy": "p", "toxic": "t"},
        {"do": "enable", "api": "http://127.0.0.1:1", "proxy": None},
        {"do": "remove_http_fault", "api": "http://127.0.0.1:1", "proxy": "llm"},
        {"do": "remove_simulator_fault", "address": "http://127.0.0.1:1", "fault": "f"},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_read_is_an_error(record: dict[str, object]) -> None:
    """The fault may still be in, so a bad record is never taken for done."""
    with pytest.raises(FaultProxyError, match="undo"):
        perform(record)


@pytest.mark.parametrize("do", ["remove_toxic", "enable", "remove_http_fault"])
def test_a_proxy_process_that_is_gone_is_fine(do: str) -> None:
    """Toxics live in the process; without it there is nothing to undo, and the answer says so."""
    said = perform({"do": do, "api": "http://127.0.0.1:1", "proxy": "llm", "toxic": "slow", "fault": "slow"})
    assert said == "the fault proxy at http://127.0.0.1:1 is gone, and its faults with it"


def test_a_simulator_that_is_gone_is_fine() -> None:
    """Its faults live in the process, too."""
    said = perform({"do": "remove_simulator_fault", "address": "127.0.0.1:1", "fault": "silent"})
    assert said == "the simulator at 127.0.0.1:1 is gone, and its faults with it"
