"""`python -m rag_service.model_server`: the simulator as a process, stopped by a signal."""

from __future__ import annotations

import argparse
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import uuid4

from rag_service.model_server import presets
from rag_service.model_server.admin import Gate
from rag_service.model_server.engine import Engine
from rag_service.model_server.fault_set import FaultSet
from rag_service.model_server.presets import Preset, PresetError
from rag_service.model_server.server import make_app
from rag_service.serving import serve

TOKEN_VARIABLE = "MODEL_SERVER_ADMIN_TOKEN"
_LONGEST_S = 3600.0
_MOST = 10_000_000
_LIMITS = {
    "max_num_batched_tokens": "tokens that one step computes at most",
    "max_model_len": "tokens of prompt and answer together at most",
    "kv_blocks": "KV blocks of 16 tokens; with fewer, sequences are preempted",
}
_SWITCHES = ("chunked_prefill", "prefix_caching")
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


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give a whole number from 1 to {_MOST}")
    return int(text)


def _count_or_none(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give a whole number from 0 to {_MOST}")
    return int(text)


def overridden(preset: Preset, options: argparse.Namespace) -> Preset:
    """The preset with what the command line says instead. Raises PresetError."""
    cost: dict[str, Any] = {}
    if options.token is not None:
        cost |= {"base_s": options.token, "prefill_token_s": 0.0, "decode_sequence_s": 0.0}
    if options.first_token is not None:
        step_s = cost.get("base_s", preset.cost.base_s)
        if options.first_token < step_s:
            raise PresetError(
                f"--first-token is {options.first_token:g}s; a first token takes at least one step, "
                f"which is {step_s:g}s long (--token)"
            )
        cost |= {"request_s": options.first_token - step_s, "prompt_token_s": 0.0}
    given = {name: getattr(options, name) for name in ("max_num_seqs", "max_waiting", *_LIMITS, *_SWITCHES)}
    try:
        return replace(
            preset,
            cost=replace(preset.cost, **cost),
            limits=replace(
                preset.limits, **{name: value for name, value in given.items() if value is not None}
            ),
        )
    except ValueError as error:
        raise PresetError(str(error)) from None


def parser() -> argparse.ArgumentParser:
    """The flags. Those that change the preset are None unless given."""
    flags = argparse.ArgumentParser(
        prog="python -m rag_service.model_server", description="Serve vLLM's API without a model."
    )
    flags.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    flags.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    flags.add_argument("--model", default="simulated", help="the only model name that is served")
    flags.add_argument(
        "--preset",
        default=presets.DEFAULT,
        metavar="NAME|FILE",
        help=f"hardware and model to behave like (default: {presets.DEFAULT})",
    )
    flags.add_argument("--list-presets", action="store_true", help="say which presets there are, and end")
    change = flags.add_argument_group("instead of what the preset says")
    change.add_argument(
        "--first-token", type=duration_s, help="an unloaded request's first token, such as 80ms"
    )
    change.add_argument("--token", type=duration_s, help="a step, however many share it, such as 8ms")
    change.add_argument(
        "--max-num-seqs", "--max-running", type=_count, help="sequences that generate at a time"
    )
    change.add_argument(
        "--max-waiting",
        type=_count_or_none,
        help="sequences that may queue; beyond, 503 as vLLM's --max-num-queued-reqs",
    )
    for name, meaning in _LIMITS.items():
        change.add_argument(f"--{name.replace('_', '-')}", type=_count, help=meaning)
    for name in _SWITCHES:
        change.add_argument(
            f"--enable-{name.replace('_', '-')}",
            dest=name,
            action=argparse.BooleanOptionalAction,
            default=None,
        )
    flags.add_argument("--seed", type=int, default=0, help="of the jitter and of the faults' draws")
    flags.add_argument(
        "--startup",
        type=duration_s,
        default="0s",
        help="how long to load a model that is none: until then nobody listens, as with vLLM",
    )
    flags.add_argument(
        "--admin-token",
        default=os.environ.get(TOKEN_VARIABLE),
        help=f"what callers of /admin must send (default: ${TOKEN_VARIABLE}; without: loopback only)",
    )
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 stopped, 2 the command line is wrong, 4 the port is taken."""
    flags = parser()
    options = flags.parse_args(arguments)
    if options.list_presets:
        for name in presets.names():
            print(f"{name:36} {presets.load(name).title}")
        return 0
    try:
        preset = overridden(presets.load(options.preset), options)
    except PresetError as error:
        flags.error(str(error))
    engine = Engine(preset, Random(options.seed))
    faults = FaultSet(Random(f"faults {options.seed}"))
    app = make_app(engine, options.model, time.time, uuid4, faults, Gate(options.admin_token or None))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("rag_service.model_server.admin").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_is_unasked)
    try:
        time.sleep(options.startup)
    except KeyboardInterrupt:
        return 0
    return serve(app, options.host, options.port, name="model server")


def _is_unasked(record: logging.LogRecord) -> bool:
    """A body that a `cut` leaves unfinished was asked for; uvicorn would report each one as an error."""
    return "without completing response" not in record.getMessage()


if __name__ == "__main__":
    raise SystemExit(main())
