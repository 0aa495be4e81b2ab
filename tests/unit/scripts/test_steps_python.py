"""Set-up installs what is missing and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import steps_python
from console import SetupError, key_of, read_stamp, write_stamp

LOCK = """\
numpy==2.4.6 \\
    --hash=sha256:aa
nvidia-cublas==13.4 ; sys_platform == 'linux' \\
    --hash=sha256:bb
cuda-toolkit==13.2 ; sys_platform == 'linux' \\
    --hash=sha256:cc
torch==2.15.0 \\
    --hash=sha256:dd \\
    --hash=sha256:ee
triton==3.9.0 ; sys_platform == 'linux' \\
    --hash=sha256:ff
torchmetrics==1.0 \\
    --hash=sha256:11
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    for name in ("run", "dev"):
        (tmp_path / "requirements" / f"{name}.lock").write_text(f"{name}==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    command = tmp_path / ".venv" / "bin" / "ragquake"
    command.parent.mkdir(parents=True)
    command.touch()
    return tmp_path


def stamp(root: Path, packages: str, backend: str = "") -> dict[str, str]:
    return {
        packages: key_of(root / "requirements" / f"{packages}.lock"),
        "torch_backend": backend,
        "project": key_of(root / "pyproject.toml"),
    }


def test_nothing_is_missing_when_the_keys_fit(root: Path) -> None:
    """A finished environment is left alone, and one with the tests' packages also serves runs."""
    assert steps_python.missing(root, "run", "", stamp(root, "run")) == ""
    assert steps_python.missing(root, "run", "", stamp(root, "dev")) == ""
    assert steps_python.missing(root, "dev", "", stamp(root, "dev")) == ""


def test_packages_are_missing_when_a_key_does_not_fit(root: Path) -> None:
    """Nothing installed yet, the tests' packages asked for too, another lock, another torch: install."""
    done = stamp(root, "run")
    assert steps_python.missing(root, "run", "", {}) == "packages"
    assert steps_python.missing(root, "dev", "", done) == "packages"
    assert steps_python.missing(root, "run", "cpu", done) == "packages"
    (root / "requirements" / "run.lock").write_text("run==2\n")
    assert steps_python.missing(root, "run", "", done) == "packages"


def test_only_the_project_is_missing_when_only_pyproject_changed(root: Path) -> None:
    """A changed pyproject or a lost command needs a second, not six gigabytes."""
    done = stamp(root, "run")
    (root / ".venv" / "bin" / "ragquake").unlink()
    assert steps_python.missing(root, "run", "", done) == "project"
    (root / ".venv" / "bin" / "ragquake").touch()
    (root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert steps_python.missing(root, "run", "", done) == "project"


def test_the_lock_less_torch() -> None:
    """torch and what its default build brings go; a package that is only named alike stays."""
    assert steps_python.version_in(LOCK, "torch") == "2.15.0"
    left = steps_python.without_torch(LOCK)
    assert [line.split("==")[0] for line in left.splitlines() if "==" in line] == ["numpy", "torchmetrics"]
    assert left.count("--hash") == 2
    assert steps_python.count(LOCK) == 6


def test_a_lock_without_torch_is_refused() -> None:
    """Asked for a torch of another build, set-up needs to know which version."""
    with pytest.raises(SetupError, match="make lock"):
        steps_python.version_in("numpy==1\n", "torch")


def test_another_python_is_refused(tmp_path: Path) -> None:
    """Who names a Python that the environment does not have is told, not given the other one."""
    (tmp_path / "pyvenv.cfg").write_text("home = /usr\nversion_info = 3.2.1\n")
    with pytest.raises(SetupError, match=r"PYTHON=python9 .* has Python 3\.2"):
        steps_python.refuse_another(tmp_path, "python9")


def test_a_torn_stamp_counts_as_none(tmp_path: Path) -> None:
    """What cannot be read was not finished."""
    path = tmp_path / "stamp"
    write_stamp(path, {"run": "abc"})
    assert read_stamp(path) == {"run": "abc"}
    path.write_text(path.read_text()[:-4])
    assert read_stamp(path) == {}
    assert read_stamp(tmp_path / "missing") == {}


def test_an_environment_that_was_cut_off_is_made_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of which half was written looks installed; the mark stays until all of them are."""
    made: list[Path] = []
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr("steps_python.works", lambda _venv: True)
    monkeypatch.setattr("steps_python.create", made.append)
    monkeypatch.setattr(
        "steps_python.choose_installer", lambda _root, _venv: steps_python.Installer("uv", ("uv",))
    )

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("steps_python.run", cut_off)
    with pytest.raises(KeyboardInterrupt):
        steps_python.provide(root, "run")
    assert made == [], "the first time there is nothing to make anew"
    monkeypatch.setattr("steps_python.run", lambda *_: None)
    steps_python.provide(root, "run")
    assert made == [root / ".venv"]
    steps_python.provide(root, "run")
    assert made == [root / ".venv"], "finished is finished"


def test_what_is_compiled_for_a_build_of_torch_comes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision of another build does not load, so it comes from where torch comes from."""
    ran: list[list[str]] = []
    monkeypatch.setattr("steps_python.run", lambda command, _environment: ran.append(command))
    lock = tmp_path / "vllm-cpu.lock"
    lock.write_text(LOCK + "torchvision==0.30.0 \\\n    --hash=sha256:22\n")
    uv = steps_python.Installer("uv", ("uv",))
    rest = steps_python.install_torch(uv, lock, "cpu", tmp_path, ("torchvision",))
    assert ran == [["uv", "--torch-backend", "cpu", "torch==2.15.0", "torchvision==0.30.0"]]
    assert "torchvision" not in rest.read_text() and "torchmetrics==1.0" in rest.read_text()
