"""`python -m chaos.proxy --host 127.0.0.1 --port 8474`: the built-in fault proxy as a process.

The API has no password, as Toxiproxy's has none, and whoever reaches it can open ports and cut
connections. So it listens on loopback and nowhere else; to share one, run Toxiproxy in the compose stack.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys

import uvicorn

from chaos.loopback import is_loopback
from chaos.proxy.addresses import AddressError, listen_on, name_of
from chaos.proxy.api import VERSION, Api
from chaos.proxy.registry import Registry

_IDLE_S = 60  # Toxiproxy's IdleTimeout


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 2 when the arguments are wrong, 4 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m chaos.proxy", description="The built-in fault proxy.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address of the API (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8474, help="port of the API; 0 picks a free one (8474)")
    parser.add_argument("--seed", type=int, default=1, help="seed of jitter, toxicity and slice sizes (1)")
    options = parser.parse_args(arguments)
    if not is_loopback(options.host):
        parser.error(
            f"--host {options.host}: the API has no password; allowed are localhost, 127.0.0.1 and ::1"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        listener = listen_on(f"{host}:{options.port}")
    except AddressError as error:
        print(f"python -m chaos.proxy: {error}; choose another --port", file=sys.stderr)
        return 4
    print(f"fault proxy {VERSION} listens on http://{name_of(listener)}", flush=True)
    registry = Registry(random.Random(options.seed))
    config = uvicorn.Config(
        Api(registry),
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=1,
    )

    async def serve() -> None:
        await uvicorn.Server(config).serve(sockets=[listener])
        await registry.stop()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
