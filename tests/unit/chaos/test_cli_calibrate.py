"""`ragquake calibrate` passes its flags to the simulator's own command, and that one's exit code back."""

from __future__ import annotations

import sys

import pytest

from chaos import cli
from chaos.cli import calibrating


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["ragquake", "calibrate", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("code", [0, 1, 2, 4])
def test_the_exit_code_is_passed_on(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """From a process of its own."""
    monkeypatch.setattr(calibrating, "COMMAND", (sys.executable, "-c", f"raise SystemExit({code})"))
    assert run(monkeypatch, "--against", "http://127.0.0.1:9") == code


def test_flags_are_passed_on_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not given is not passed; a value that begins with a dash stays with its flag."""
    seen: list[list[str]] = []
    monkeypatch.setattr(calibrating, "_run", lambda command: seen.append(command) or 0)
    run(monkeypatch, "--against", "http://127.0.0.1:9", "--out", "mine.toml", "--json", "m.json", "--verify")
    flags = seen[0][len(calibrating.COMMAND) :]
    assert "--against=http://127.0.0.1:9" in flags and "--out=mine.toml" in flags and "--json=m.json" in flags
    assert flags[-1] == "--verify"
    assert not any(flag.startswith(("--model", "--max-num-seqs", "--plot")) for flag in flags)


def test_the_other_command_takes_every_flag(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All of them at once: nobody answers there, which is exit 4 and not 2."""
    arguments = ["--against", "http://127.0.0.1:9", "--model", "m", "--concurrency", "1,2", "--verify"]
    arguments += ["--prompt-tokens", "32-64", "--max-tokens", "8-16", "--requests", "50", "--seed", "3"]
    arguments += ["--max-num-seqs", "8", "--max-num-batched-tokens", "512", "--kv-blocks", "100"]
    arguments += ["--tolerance", "0.3", "--out", "a.toml", "--plot", "a.svg", "--json", "a.json"]
    assert run(monkeypatch, *arguments) == 4
    assert "no OpenAI-compatible server answers" in capfd.readouterr().err
