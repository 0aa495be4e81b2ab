"""`python -m chaos.proxy --host 127.0.0.1 --port 8474`: the built-in fault proxy as a process.

Whoever reaches the API can open ports and cut connections. So it listens on loopback, where no password is
asked for, as Toxiproxy asks for none; anywhere else only with a token, which every caller must send.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import uvicorn

from chaos.control.fault_proxy import TOKEN_VARIABLE
from chaos.proxy.acceptor import all_descriptors
from chaos.proxy.addresses import AddressError, listen_on, name_of
from chaos.proxy.api import Api
from chaos.proxy.bounded_http import BoundedHttp
from chaos.proxy.evidence import Evidence
from chaos.proxy.gate import LEAST_TOKEN, Gate
from chaos.proxy.registry import Registry
from chaos.proxy.toxiproxy_calls import VERSION
from chaos.safety.notations import is_loopback

_IDLE_S = 60  # Toxiproxy's IdleTimeout
_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None, prog: str = "python -m chaos.proxy") -> int:
    """Serve until SIGINT or SIGTERM; 2 when the arguments are wrong, 4 when port or file cannot be had."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="The built-in fault proxy: Toxiproxy's API, faults on requests, leases, evidence.",
        epilog=f"Example: {prog} --port 8474 --evidence faults.jsonl; docs/reference/proxy.md has the calls.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address of the API; without a token loopback alone (127.0.0.1)",
    )
    parser.add_argument("--port", type=int, default=8474, help="port of the API; 0 picks a free one (8474)")
    parser.add_argument("--seed", type=int, default=1, help="seed of jitter, toxicity and slice sizes (1)")
    parser.add_argument(
        "--evidence",
        type=Path,
        metavar="FILE",
        help="append what faults did to each connection and request, as JSON lines",
    )
    options = parser.parse_args(arguments)
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is None and not is_loopback(options.host):
        parser.error(
            f"--host {options.host}: without a password allowed are localhost, 127.0.0.1 and ::1; set "
            f"{TOKEN_VARIABLE}, here and where ragquake runs, to listen on others"
        )
    if token is not None and (len(token) < LEAST_TOKEN or not (token.isascii() and token.isprintable())):
        parser.error(f"{TOKEN_VARIABLE}: at least {LEAST_TOKEN} characters of printable ASCII are asked for")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port {options.port}: a port is a number from 0 to 65535; 0 picks a free one")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        listener = listen_on(f"{host}:{options.port}")
    except AddressError as error:
        print(f"{prog}: {error}; choose another --port", file=sys.stderr)
        return 4
    try:
        file = _opened(options.evidence)
    except OSError as error:
        listener.close()
        print(
            f"{prog}: --evidence {options.evidence}: {error.strerror}; name a file to write", file=sys.stderr
        )
        return 4
    api = f"http://{name_of(listener)}"
    print(f"fault proxy {VERSION} listens on {api}", flush=True)
    print(_HOW_TO.format(api=api), flush=True)
    registry = Registry(random.Random(options.seed), Evidence(file), descriptors=all_descriptors())
    config = uvicorn.Config(
        Api(registry, Gate(token)),
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=1,
    )

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_say_in_one_line)
        server = _Server(config)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        registry.lag.start()
        await server.serve(sockets=[listener])
        registry.lag.stop()
        await registry.stop()
        await registry.evidence.close()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())
    return 0


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn's would end the process before the evidence is on the disk."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


_HOW_TO = """\
a proxy:  curl -d '{{"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:5432"}}' {api}/proxies
a fault:  curl -d '{{"type": "latency", "attributes": {{"latency": 500}}}}' {api}/proxies/db/toxics
it bit:   curl {api}/evidence"""


def _opened(path: Path | None) -> IO[bytes] | None:
    """Unbuffered: what is lost with a full disk is then known."""
    return path.open("ab", buffering=0) if path is not None else None


def _say_in_one_line(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Out of descriptors is told without the traceback that asyncio gives it; all else is as it was."""
    if isinstance(context.get("exception"), OSError):
        _log.warning("%s: %s", context["message"], context["exception"])
    else:
        loop.default_exception_handler(context)


if __name__ == "__main__":
    sys.exit(main())
