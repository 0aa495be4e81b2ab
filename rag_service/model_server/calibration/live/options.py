"""What can be asked of a calibration, as flags that are checked before anything is sent."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rag_service.model_server.calibration.live.load import LEAST_REQUESTS, Range, parse_range
from rag_service.model_server.calibration.live.server import parse_url

#: What is assumed where neither the server nor the command line says it; vLLM's own depend on the hardware.
MAX_NUM_SEQS = 256
MAX_NUM_BATCHED_TOKENS = 2048

MOST_SEED = 2**31 - 1

_MOST_CALLERS = 1024
_MOST_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    against: str
    model: str | None
    concurrency: tuple[int, ...]
    prompt_tokens: Range
    max_tokens: Range
    requests: int
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    kv_blocks: int | None
    verify: bool
    tolerance: float
    seed: int | None
    out: Path | None
    plot: Path | None
    json: Path | None

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> Options:
        return cls(**{field.name: getattr(parsed, field.name) for field in fields(cls)})


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--against", type=_checked(parse_url), required=True, metavar="URL")
    parser.add_argument("--model", help="one that it serves (default: the first)")
    parser.add_argument("--concurrency", type=_checked(_callers), default="1,8,32", metavar="N,N,…")
    parser.add_argument("--prompt-tokens", type=_checked(_prompt), default="32-512", metavar="LOW-HIGH")
    parser.add_argument("--max-tokens", type=_checked(_output), default="16-64", metavar="LOW-HIGH")
    parser.add_argument(
        "--requests",
        type=_checked(_requests),
        default="240",
        help="of one caller; three times as many in company",
    )
    for name, meaning in (
        ("--max-num-seqs", f"what the server was told (default: {MAX_NUM_SEQS})"),
        ("--max-num-batched-tokens", f"what the server was told (default: {MAX_NUM_BATCHED_TOKENS})"),
        ("--kv-blocks", "of the server (default: what its metrics say, else enough)"),
    ):
        parser.add_argument(name, type=_checked(_count), help=meaning)
    parser.add_argument("--verify", action="store_true", help="run the fitted simulator as a process, too")
    parser.add_argument("--tolerance", type=_checked(_ratio), default="0.2", help="exit 1 beyond it")
    parser.add_argument("--seed", type=_checked(_seed), help="of prompts and lengths (default: a new one)")
    parser.add_argument("--out", type=writable_file, metavar="PRESET.toml")
    parser.add_argument("--plot", type=writable_file, metavar="FILE.svg")
    parser.add_argument("--json", type=writable_file, metavar="FILE.json")


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """For argparse, which keeps the message of its own error only."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _callers(text: str) -> tuple[int, ...]:
    found = [int(one) if one.isdecimal() else 0 for one in text.replace(" ", "").split(",")]
    if not all(1 <= one <= _MOST_CALLERS for one in found) or len(set(found)) < len(found):
        raise ValueError(
            f"{text!r} is not allowed; write 1,8,32: different numbers from 1 to {_MOST_CALLERS}"
        )
    return tuple(sorted(found))


def _prompt(text: str) -> Range:
    return parse_range(text, least=1, most=_MOST_TOKENS)


def _output(text: str) -> Range:
    return parse_range(text, least=4, most=_MOST_TOKENS)


def _requests(text: str) -> int:
    if not text.isdecimal() or not LEAST_REQUESTS <= int(text) <= _MOST_TOKENS:
        raise ValueError(
            f"{text!r} is not allowed; give a number from {LEAST_REQUESTS}: a 95th percentile of fewer "
            f"requests is its largest value"
        )
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not allowed; give a whole number from 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_SEED:
        raise ValueError(f"{text!r} is not allowed; give a whole number from 0 to {MOST_SEED}")
    return int(text)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 0.0 < ratio < 1.0:
        raise ValueError(f"{text!r} is not allowed; give a ratio between 0 and 1, such as 0.2")
    return ratio


def writable_file(text: str) -> Path:
    """A file that can be written: better to hear it now than after the measurement."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be written: its folder does not exist, or it is one"
        )
    return path
