"""`python -m rag_service.model_server`: the simulator as a process, stopped by a signal."""

from __future__ import annotations

import argparse
import logging
import os
import re
import time
from collections.abc import Sequence
from random import Random
from uuid import uuid4

from rag_service.model_server.admin import Gate
from rag_service.model_server.engine import Engine
from rag_service.model_server.fault_set import FaultSet
from rag_service.model_server.pace import Pace
from rag_service.model_server.scheduler import Scheduler
from rag_service.model_server.server import make_app
from rag_service.serving import serve

MAX_WAITING = 10_000
TOKEN_VARIABLE = "MODEL_SERVER_ADMIN_TOKEN"
_LONGEST_S = 3600.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


def duration_s(text: str) -> float:
    """Seconds of `80ms` or `2s`. A bare number is refused: it could be either."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 80ms or 2s")
    seconds = float(found[1]) / (1000.0 if found[2] == "ms" else 1.0)
    if seconds > _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is too long; at most {_LONGEST_S:.0f}s are allowed")
    return seconds


def _places(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WAITING:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; give a whole number from 1 to {MAX_WAITING}"
        )
    return int(text)


def _queue(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_WAITING:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; give a whole number from 0 to {MAX_WAITING}"
        )
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 stopped, 2 the command line is wrong, 4 the port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m rag_service.model_server", description="Serve vLLM's API without a model."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument("--model", default="simulated", help="the only model name that is served")
    parser.add_argument(
        "--first-token", type=duration_s, default="80ms", help="from admission to the first token"
    )
    parser.add_argument("--token", type=duration_s, default="8ms", help="from one token to the next")
    parser.add_argument("--max-running", type=_places, default="64", help="sequences that generate at a time")
    parser.add_argument(
        "--max-waiting",
        type=_queue,
        default=str(MAX_WAITING),
        help="sequences that may queue; beyond, 503 as vLLM's --max-num-queued-reqs",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the jitter and of the faults' draws")
    parser.add_argument(
        "--admin-token",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"what callers of /admin must send (default: ${TOKEN_VARIABLE}; without: loopback only)",
    )
    options = parser.parse_args(arguments)
    pace = Pace(options.first_token, options.token, Random(options.seed))
    engine = Engine(Scheduler(options.max_running, options.max_waiting), pace)
    faults = FaultSet(Random(f"faults {options.seed}"))
    app = make_app(engine, options.model, time.time, uuid4, faults, Gate(options.admin_token or None))
    logging.getLogger("uvicorn.error").addFilter(_is_unasked)
    return serve(app, options.host, options.port, name="model server")


def _is_unasked(record: logging.LogRecord) -> bool:
    """A body that a `cut` leaves unfinished was asked for; uvicorn would report each one as an error."""
    return "without completing response" not in record.getMessage()


if __name__ == "__main__":
    raise SystemExit(main())
