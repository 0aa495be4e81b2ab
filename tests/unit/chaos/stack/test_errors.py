"""The rules of what a stack's errors say."""

from __future__ import annotations

from pathlib import Path

from chaos.stack.errors import PartDied, log_tail, root_cause


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


VLLM = """\
(EngineCore pid=8) ERROR 11-22 14:45:27 [core.py:1100] EngineCore failed to start.
(EngineCore pid=8) ERROR 11-22 14:45:27 [core.py:1100] Traceback (most recent call last):
(EngineCore pid=8) ERROR 11-22 14:45:27 [core.py:1100] ValueError: no memory for the KV cache
(EngineCore pid=8) Process EngineCore:
(EngineCore pid=8) Traceback (most recent call last):
(EngineCore pid=8) ValueError: no memory for the KV cache
(APIServer pid=7) Traceback (most recent call last):
"""


def test_the_reason_to_which_a_log_refers_is_found(tmp_path: Path) -> None:
    """vLLM's server ends with a traceback of its own, a screen below why its engine did not start."""
    log = tmp_path / "llm.log"
    frames = "".join(f"(APIServer pid=7)   File api_server.py, line {line}\n" for line in range(50))
    end = "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. {}\n"
    log.write_text(VLLM + frames + end)
    first, *tail = str(PartDied("llm", 1, log)).splitlines()
    assert first == "llm ended with exit code 1; ValueError: no memory for the KV cache"
    assert not any("no memory" in line for line in tail)
    log.write_text(VLLM + frames + end + "a new start\n" * 50 + "KeyError: 'model'\n")
    assert root_cause(log) is None, "the end does not refer to it"
    log.write_text(end)
    assert root_cause(log) is None, "it is not there"


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    """A log of any size costs one small read."""
    log = tmp_path / "big.log"
    log.write_bytes(b"x" * 1_000_000 + b"\nlast\n")
    assert log_tail(log, 1) == ["last"]
