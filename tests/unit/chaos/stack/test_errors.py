"""The rules of what a stack's errors say."""

from __future__ import annotations

from pathlib import Path

from chaos.stack.errors import PartDied, log_tail


def test_a_dead_part_is_named_with_its_exit_code_its_last_lines_and_its_log(tmp_path: Path) -> None:
    """The last lines of the log are in the message, the first ones of a long log are not."""
    log = tmp_path / "service.log"
    log.write_text("\n".join(f"line {i}" for i in range(500)) + "\nModuleNotFoundError: no torch\n")
    message = str(PartDied("service", 1, log))
    assert "service ended with exit code 1" in message
    assert "ModuleNotFoundError: no torch" in message and "line 3\n" not in message
    assert str(log) in message


def test_a_part_ended_by_a_signal_says_which(tmp_path: Path) -> None:
    """The kernel's out-of-memory kill (9) must not read like an exit of its own; an empty log is named."""
    message = str(PartDied("llm", -9, tmp_path / "llm.log"))
    assert "signal 9" in message and "empty" in message


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    """A log of any size costs one small read."""
    log = tmp_path / "big.log"
    log.write_bytes(b"x" * 1_000_000 + b"\nlast\n")
    assert log_tail(log, 1) == ["last"]
