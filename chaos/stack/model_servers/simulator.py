"""The simulator: vLLM's face and pace without a model, for machines on which a model would be too slow."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from chaos import __version__
from chaos.stack.model_servers.model_server import ModelServer

MODEL = "simulator"


def simulator(options: Mapping[str, str] | None = None) -> ModelServer:
    """The simulator with its own flags, without their dashes: `{"first-token": "80ms"}`."""
    given = {"model": MODEL, **(options or {})}
    flags = [word for name, value in given.items() for word in (f"--{name}", value)]
    command = (sys.executable, "-m", "rag_service.model_server", *flags)
    return ModelServer("simulator", __version__, given["model"], command)
