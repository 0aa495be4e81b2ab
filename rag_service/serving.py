"""How the stack's small servers listen and end: clear words for a taken port, gone at once on SIGTERM.

uvicorn alone would print a traceback-like line for a busy port and wait for open streams before it ends. A
part of an experiment's stack must be gone when the runner says so.
"""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import uvicorn

PORT_IS_TAKEN = 4
_BACKLOG = 2048


def serve(app: Any, host: str, port: int, *, name: str) -> int:
    """Serve an ASGI application until a signal ends it. Returns the exit code: 0, or 4 without the port."""
    try:
        listener = _listener(host, port)
    except (OSError, OverflowError) as error:
        print(
            f"error: the {name} cannot listen on {host}:{port} ({error}); name another --port, or 0",
            file=sys.stderr,
        )
        return PORT_IS_TAKEN
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=_BACKLOG,
        proxy_headers=False,  # who calls is whom the socket names, not whom a header does
        timeout_graceful_shutdown=0,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    shown = f"[{host}]" if ":" in host else host
    print(f"{name} listens on http://{shown}:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _is_news(record: logging.LogRecord) -> bool:
    """Streams that are cut by a stop are what was asked for, not an error to report."""
    return "timeout graceful shutdown exceeded" not in record.getMessage()


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
