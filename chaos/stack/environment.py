"""What the children of a stack find in their environment.

A run must not depend on what happens to be exported in somebody's shell: `RAG_` and `OTEL_` names of the
user would silently change the service under test, `VLLM_API_KEY` would have vLLM ask it for a key that it
does not have, an HTTP proxy would swallow calls to loopback. One
thread for OpenMP because the embedder otherwise takes every core from the load generator; the hub is
offline because nothing is downloaded while a run is measured.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

import psutil

from chaos import __version__
from chaos.stack.description import MachineRecord
from chaos.stack.errors import StackError
from chaos.stack.process import MARK

FIXED: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
LEFT_OUT = ("RAG_", "OTEL_", "RAGQUAKE_", "VLLM_", "PYTHONDONTWRITEBYTECODE")
"""Beside what would leak in: without kept bytecode, importing sentence-transformers takes 14 s, not 8."""
NO_PROXY_FOR = ("127.0.0.1", "localhost")
DISTRIBUTIONS = (
    "faiss-cpu",
    "faiss-gpu-cu12",
    "torch",
    "sentence-transformers",
    "fastapi",
    "uvicorn",
    "vllm",
)


def child_environment(
    inherited: Mapping[str, str], mark: str, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a child: the user's, less what would leak in, plus the fixed part and `extra`.

    `mark` is the absolute path of the stack.json that the child belongs to.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith(LEFT_OUT)}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, (kept.get(name), *NO_PROXY_FOR)))
    return {**kept, **FIXED, **(extra or {}), MARK: mark}


def service_environment(
    wiring: Mapping[str, str], settings: Mapping[str, str], otlp_endpoint: str | None
) -> dict[str, str]:
    """The service's settings: the stack's wiring, then the user's. Raises StackError where they collide."""
    for name in settings:
        if not name.startswith("RAG_"):
            raise StackError(f"{name!r} is not a setting of the service; their names start with RAG_")
        if name in wiring:
            raise StackError(
                f"{name} is set by the stack itself ({wiring[name]}); "
                f"settings that can be changed are the others, ports are named with the stack's ports"
            )
    exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp_endpoint} if otlp_endpoint else {}
    return {**wiring, **settings, **exported}


def installed_versions() -> dict[str, str]:
    """Versions of the libraries that decide how fast and how well the stack answers."""
    found = {"ragquake": __version__}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def this_machine() -> MachineRecord:
    """The machine, as far as it explains a number."""
    return MachineRecord(
        cores=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
    )
