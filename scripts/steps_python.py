"""Makes `.venv` and installs the hash-locked packages and ragquake itself into it.

uv does it in a fraction of pip's time, so uv is used when it is there or can be installed from its own
lock; plain pip reads the same lock where it cannot. Nothing is resolved here (`--no-deps`): the lock is
the whole truth, and a package that it does not name with a hash is not installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from console import SetupError, key_of, read_stamp, say, write_stamp

# What the default Linux build of torch brings along and a build from UV_TORCH_BACKEND brings itself.
TORCH_FAMILY = re.compile(r"(torch|triton|nvidia-[\w.-]+|cuda-[\w.-]+)==")

UNFINISHED = "ragquake-unfinished"
"""Is there while packages are installed. An environment in which it was left is made anew: to an installer, a
package of which half was written when it was cut off is installed. What was downloaded is in its cache."""


@dataclass(frozen=True, slots=True)
class Installer:
    """A way to put packages into the environment."""

    name: str
    install: tuple[str, ...]


def provide(root: Path, packages: str) -> None:
    """`packages` is `run`, or `dev` for a superset of it that the tests need."""
    venv = root / ".venv"
    stamp_file = venv / "ragquake-setup.json"
    unfinished = venv / UNFINISHED
    if not works(venv) or unfinished.exists():
        create(venv)
    elif wanted := os.environ.get("PYTHON"):
        refuse_another(venv, wanted)
    stamp = read_stamp(stamp_file)
    backend = os.environ.get("UV_TORCH_BACKEND") or stamp.get("torch_backend", "")
    todo = missing(root, packages, backend, stamp)
    if not todo:
        say("python", f"packages ({packages}) are ready in {venv}")
        return
    unfinished.touch()
    installer = choose_installer(root, venv)
    if todo == "packages":
        lock = lock_of(root, packages)
        say(
            "python",
            f"installing {count(lock.read_text())} packages with {installer.name} (minutes the first time)",
        )
        if backend:
            lock = install_torch(installer, lock, backend, venv)
        run([*installer.install, "--require-hashes", "--no-deps", "-r", lock], without_backend())
        stamp = {packages: key_of(lock_of(root, packages)), "torch_backend": backend}
    say("python", "installing ragquake itself")
    run([*installer.install, "--no-deps", "--no-build-isolation", "-e", root], without_backend())
    write_stamp(stamp_file, {**stamp, "project": key_of(root / "pyproject.toml")})
    unfinished.unlink()


def missing(root: Path, packages: str, backend: str, stamp: dict[str, str]) -> str:
    """`packages` when the locked set has to be installed, `project` when only ragquake has, else nothing."""
    sets = ("dev",) if packages == "dev" else ("run", "dev")
    installed = any(stamp.get(name) == key_of(lock_of(root, name)) for name in sets)
    if not installed or stamp.get("torch_backend", "") != backend:
        return "packages"
    command = root / ".venv" / "bin" / "ragquake"
    return "" if command.is_file() and stamp.get("project") == key_of(root / "pyproject.toml") else "project"


def lock_of(root: Path, packages: str) -> Path:
    return root / "requirements" / f"{packages}.lock"


def count(lock: str) -> int:
    return len(re.findall(r"^[\w.-]+==", lock, flags=re.MULTILINE))


def works(venv: Path) -> bool:
    """An environment whose Python was upgraded away under it is no environment."""
    python = venv / "bin" / "python"
    return python.exists() and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def refuse_another(venv: Path, wanted: str) -> None:
    """Someone who names a Python does not want to be given another one without a word."""
    config = (venv / "pyvenv.cfg").read_text()
    found = re.search(r"^version(?:_info)? = (\d+\.\d+)", config, flags=re.MULTILINE)
    here, asked = found[1] if found else "another version", "{}.{}".format(*sys.version_info)
    if here != asked:
        raise SetupError(
            f"PYTHON={wanted} is Python {asked}, but {venv} has Python {here}.\n"
            f"       Remove the environment to make it anew: rm -r {venv}"
        )


def create(venv: Path) -> None:
    # The one beneath: set-up may run on the very environment that is made anew.
    python = getattr(sys, "_base_executable", "") or sys.executable
    say("python", f"creating {venv} with Python {sys.version.split()[0]} ({python})")
    if uv := working_uv():
        run([uv, "venv", "--quiet", "--clear", "--python", python, venv])
        return
    try:
        run([python, "-m", "venv", "--clear", venv])
    except subprocess.CalledProcessError as problem:
        version = "{}.{}".format(*sys.version_info)
        raise SetupError(
            f"{python} cannot create a virtual environment.\n"
            f"       Debian and Ubuntu keep that in a package of its own: apt-get install python3-venv "
            f"(or python{version}-venv).\n"
            "       Or install uv, which needs no such package, and run this again."
        ) from problem


def working_uv(*more: Path) -> str | None:
    """uv that runs (a version manager's shim may be on PATH with nothing behind it)."""
    if os.environ.get("RAGQUAKE_INSTALLER") == "pip":
        return None
    return next(filter(runs, (*map(str, more), shutil.which("uv"))), None)


def runs(program: str | None) -> bool:
    if not program or not Path(program).exists():
        return False
    return subprocess.run([program, "--version"], capture_output=True).returncode == 0


def choose_installer(root: Path, venv: Path) -> Installer:
    python = venv / "bin" / "python"
    inside = venv / "bin" / "uv"
    uv = working_uv(inside)
    if uv is None and os.environ.get("RAGQUAKE_INSTALLER") != "pip":
        say("python", f"uv is not here; installing it into {venv}")
        lock = root / "requirements" / "uv.lock"
        got = subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock])
        uv = working_uv(inside) if got.returncode == 0 else None
    if uv is not None:
        quiet = () if sys.stderr.isatty() else ("--quiet",)  # else 150 names, one a line
        return Installer("uv", (uv, "pip", "install", *quiet, "--python", str(python)))
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode != 0:
        run([python, "-m", "ensurepip", "--upgrade"])
    return Installer("pip", (str(python), "-m", "pip", "install", "--disable-pip-version-check"))


def install_torch(
    installer: Installer, lock: Path, backend: str, venv: Path, built_for_it: tuple[str, ...] = ()
) -> Path:
    """Installs the locked version of torch from `backend`, and of what has to be compiled for that build.

    Returns the lock of what is left to install.
    """
    if installer.name != "uv":
        raise SetupError(
            f"UV_TORCH_BACKEND={backend} needs uv, which could not be installed.\n"
            "       Install uv, or unset the variable to get torch's default build."
        )
    names = ("torch", *built_for_it)
    wanted = [f"{name}=={version_in(lock.read_text(), name)}" for name in names]
    say("python", f"installing {', '.join(wanted)} for UV_TORCH_BACKEND={backend}")
    run([*installer.install, "--torch-backend", backend, *wanted], without_backend())
    rest = venv / f"{lock.stem}-without-torch.lock"
    rest.write_text(without_torch(lock.read_text(), built_for_it))
    return rest


def version_in(lock: str, package: str) -> str:
    found = re.search(rf"^{re.escape(package)}==([\w.+]+)", lock, flags=re.MULTILINE)
    if not found:
        raise SetupError(f"the lock names no {package}. Make the locks anew: make lock")
    return found[1]


def without_torch(lock: str, built_for_it: tuple[str, ...] = ()) -> str:
    """The lock less torch, the CUDA packages of its default build, and what was compiled for that."""
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    others = tuple(f"{name}==" for name in built_for_it)
    return "".join(
        entry for entry in entries if not TORCH_FAMILY.match(entry) and not entry.startswith(others)
    )


def without_backend() -> dict[str, str]:
    """The environment without uv's switch: hashes of the lock belong to the default builds."""
    return {name: value for name, value in os.environ.items() if name != "UV_TORCH_BACKEND"}


def run(command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True)
