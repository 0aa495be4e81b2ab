"""The single examinations of `ragquake doctor`: one question to the machine each, one finding back.

Each finding is something that was really asked: a binary that was run, an engine that answered, a file
that was read. `docker` on PATH, for one, is only a client. Nothing heavy is imported: which torch or
FAISS build is installed, and what it weighs, stands in the metadata of the distributions, while importing
torch to learn it would take ten seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from chaos.control.fault_proxy import FaultProxyError
from chaos.control.toxiproxy import Toxiproxy
from chaos.stack.errors import StackError
from chaos.stack.model_servers.vllm import installed as vllm_at
from chaos.stack.ports import reserve_port
from chaos.stack.proxy_choice import HOW_TO_GET_IT, choose_proxy, named_version, version_of_binary

ASK_TIMEOUT_S = 5.0
GB = 1e9
ENOUGH_PYTHON = (3, 11)
ENOUGH_GO = (1, 23)
"""What the module of Toxiproxy 2.12 asks for."""
ENOUGH_CORES = 2
ENOUGH_MEMORY_BYTES = 4 * GB
"""Torch, FAISS, Locust and the runner together; on less the machine swaps, and then measures its disk."""
ENOUGH_DISK_BYTES = 1 * GB
PORTS_TRIED = 8
"""A stack takes six, the receiver one, and one to spare."""

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the machine: `ok`, a `note` (works, but), or a `problem` (a run would fail)."""

    name: str
    value: str
    consequence: str
    level: Level = "ok"


@dataclass(frozen=True, slots=True)
class Said:
    """What a program printed and how it ended; `code` is null when it is missing or did not end in time."""

    code: int | None
    text: str


Ask = Callable[[Sequence[str]], Said]


def ask(command: Sequence[str]) -> Said:
    """Run a program without a shell and keep what it says."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Said(None, f"gave no answer within {ASK_TIMEOUT_S:.0f} s")
    except OSError as error:
        return Said(None, error.strerror or str(error))
    return Said(answer.returncode, (answer.stdout.strip() or answer.stderr.strip()))


def installed_sizes() -> dict[str, int]:
    """Bytes of the installed distributions that weigh most, from their own file records."""
    sizes = {}
    for distribution in metadata.distributions():
        name = (distribution.name or "").lower()
        if name in ("torch", "triton") or name.startswith(("nvidia-", "faiss-")):
            sizes[name] = sum(file.size or 0 for file in distribution.files or ())
    return sizes


def python(version: tuple[int, int, int]) -> Finding:
    text = ".".join(map(str, version))
    if version[:2] < ENOUGH_PYTHON:
        return Finding("Python", text, "ragquake needs Python 3.11 or later", "problem")
    return Finding("Python", text, "fits (3.11 or later is needed)")


def cores(count: int) -> Finding:
    if count < ENOUGH_CORES:
        consequence = "load generator and service share one core: expect inconclusive runs"
        return Finding("Cores", str(count), consequence, "note")
    return Finding("Cores", str(count), "the service yields to the measurement (nice 10)")


def memory(available_bytes: int) -> Finding:
    value = f"{available_bytes / GB:.1f} GB free"
    if available_bytes < ENOUGH_MEMORY_BYTES:
        return Finding("Memory", value, "a stack needs about 4 GB; close something first", "note")
    return Finding("Memory", value, "enough for a stack (about 4 GB)")


def disk(free_bytes: int) -> Finding:
    value = f"{free_bytes / GB:.1f} GB free"
    if free_bytes < ENOUGH_DISK_BYTES:
        return Finding("Disk", value, "bundles and index need about 1 GB; delete old runs/", "problem")
    return Finding("Disk", value, "enough for index and bundles")


def ports() -> Finding:
    """Reserve as many loopback ports as a stack takes."""
    try:
        found = {reserve_port() for _ in range(PORTS_TRIED)}
    except OSError as error:
        return Finding(
            "Ports", str(error.strerror), "no stack can start; loopback must allow servers", "problem"
        )
    return Finding("Ports", f"{len(found)} free on loopback", "a part gets a free one unless one is named")


def fault_proxy(environment: Mapping[str, str], home: Path) -> Finding:
    """Which fault proxy a stack would use here; a running one is asked for its version."""
    try:
        choice = choose_proxy(environment, home)
        if choice.api is not None:
            version = named_version(Toxiproxy(choice.api, timeout_s=ASK_TIMEOUT_S).version(), choice)
            return Finding("Fault proxy", f"Toxiproxy {version} at {choice.api}", f"used: {choice.why}")
    except (StackError, FaultProxyError) as error:
        return Finding("Fault proxy", "unusable", str(error), "problem")
    if choice.kind == "builtin":
        return Finding(
            "Fault proxy", "built-in", f"{choice.why}; for real Toxiproxy: {HOW_TO_GET_IT}", "note"
        )
    binary = choice.command[0]
    version = version_of_binary(Path(binary)) or "of unknown version"
    return Finding("Fault proxy", f"Toxiproxy {version}", f"used: {choice.why}")


def go(asked: Ask = ask) -> Finding:
    said = asked(("go", "version"))
    if said.code != 0:
        return Finding("Go", "not found", "Toxiproxy cannot be built here, only found")
    words = said.text.split()
    version = words[2].removeprefix("go") if len(words) > 2 else said.text
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < ENOUGH_GO:
        return Finding("Go", version, "too old for Toxiproxy 2.12 (1.23 or later)", "note")
    return Finding("Go", version, "`make setup` can build Toxiproxy 2.12")


def index(index_dir: Path) -> Finding:
    """Whether the index is there, from its manifest."""
    try:
        manifest = json.loads((index_dir / "manifest.json").read_text(encoding="utf-8"))
        value = f"{manifest['documents']} documents, stamp {str(manifest['stamp'])[:12]}"
    except FileNotFoundError:
        return Finding("Index", "none yet", f"the first run builds it in {index_dir}", "note")
    except (OSError, ValueError, KeyError, TypeError) as error:
        consequence = f"{index_dir} is damaged ({type(error).__name__}); delete it, the next run rebuilds it"
        return Finding("Index", "unreadable", consequence, "problem")
    return Finding("Index", value, f"in {index_dir}, of {manifest.get('corpus', 'an unnamed corpus')}")


def torch(sizes: Mapping[str, int], gpus: bool) -> Finding:
    """The torch build, by what was installed with it: only CUDA builds bring nvidia distributions."""
    if "torch" not in sizes:
        return Finding("torch", "not installed", "the service cannot embed; run `make setup`", "problem")
    cuda = sum(size for name, size in sizes.items() if name.startswith("nvidia-") or name == "triton")
    version = metadata.version("torch")
    weight = f"{(sizes['torch'] + cuda) / GB:.1f} GB"
    if not cuda:
        return Finding("torch", f"{version}, CPU build, {weight}", "embeds on the CPU")
    value = f"{version}, CUDA build, {weight}"
    if gpus:
        return Finding("torch", value, "can embed on the GPU")
    return Finding(
        "torch", value, "no GPU here; UV_TORCH_BACKEND=cpu before `make setup` saves most of it", "note"
    )


def faiss(sizes: Mapping[str, int]) -> Finding:
    found = sorted(name for name in sizes if name.startswith("faiss-"))
    if not found:
        return Finding("FAISS", "not installed", "the vector DB cannot start; run `make setup`", "problem")
    value = ", ".join(f"{name} {metadata.version(name)}" for name in found)
    if any(name.startswith("faiss-gpu") for name in found):
        return Finding("FAISS", value, "GPU build")
    return Finding("FAISS", value, "CPU build: exact search over thousands of documents takes milliseconds")


def gpu(asked: Ask = ask) -> Finding:
    said = asked(("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"))
    if said.code != 0 or not said.text:
        return Finding("GPU", "none", "the simulator stands in for the model server")
    return Finding("GPU", "; ".join(said.text.splitlines()), "vLLM could serve a real model")


def vllm(home: Path) -> Finding:
    """The vLLM that set-up made; one that runs elsewhere needs nothing here."""
    version = vllm_at(home)
    if version is None:
        return Finding("vLLM", "not set up", "the simulator answers instead; `make vllm` sets vLLM up")
    return Finding("vLLM", version, "a run uses it with --llm vllm; without, the simulator answers")


def container_engine(asked: Ask = ask) -> Finding:
    """The engine, not the client: `docker info` asks it."""
    if shutil.which("docker") is None:
        return Finding("Container engine", "none", "the local stack needs none")
    said = asked(("docker", "info", "--format", "{{.ServerVersion}}"))
    if said.code == 0 and said.text and "\n" not in said.text:
        return Finding("Container engine", f"docker {said.text}", "the compose stack can run: STACK=compose")
    return Finding(
        "Container engine", "a docker client without an engine", "the local stack needs none", "note"
    )
