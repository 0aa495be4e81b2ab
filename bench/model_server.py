"""`python -m bench.model_server` (`make bench-model-server`): is the simulator ever the bottleneck?

Streamed tokens per second of the server's own CPU time, each token an event of its own, over many streams at
once: what one core bears, whatever else the machine does. Twice: with steps that cost nothing, as fast as it
goes, and at a pace at which each token leaves by itself, as a real model's do. Mock servers from PyPI are
asked the same by the same client, told to wait for nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from bench import show
from bench.peers import PEERS, CannotInstall, Peer, running
from bench.processes import MODEL, ROOT, DidNotStart, Running, processes
from bench.token_streams import ANSWER_TOKENS, Counted

AIM_PER_CORE = 20_000
STREAMS = 128
#: At this pace 256 streams make 21,333 tokens a second: above the aim, and each step's tokens leave together.
_PACED = {"max_num_seqs": "256", "first_token": "12ms", "token": "12ms"}
_PACED_STREAMS = 256
_FREE = {"max_num_seqs": str(STREAMS), "first_token": "0.001ms", "token": "0.001ms"}
FLAT_OUT = "simulator, steps that cost nothing"


class NothingMeasured(Exception):
    """The client could not count; the message is its own."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One server under one load: medians over rounds. A peer has no aim to reach."""

    name: str
    is_peer: bool
    streams: int
    answer_tokens: int
    per_core: float
    per_s: float
    server_cpu_ratio: float
    client_cpu_ratio: float
    tokens_per_read: float
    failed: int

    @property
    def reached(self) -> bool:
        return self.is_peer or (self.per_core >= AIM_PER_CORE and not self.failed)


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that can be started, and how it is asked."""

    name: str
    is_peer: bool
    model: str
    streams: int
    start: Callable[[], AbstractContextManager[Running]]


def subjects() -> list[Subject]:
    @contextmanager
    def simulator(options: dict[str, str]) -> Iterator[Running]:
        with processes() as started:
            server = started.model_server(**options)
            server.wait_until_ready("/health")
            yield server

    def peer(found: Peer) -> Subject:
        return Subject(found.title, True, found.model, STREAMS, lambda: running(found))

    return [
        Subject(FLAT_OUT, False, MODEL, STREAMS, lambda: simulator(_FREE)),
        Subject("simulator, 12 ms a token", False, MODEL, _PACED_STREAMS, lambda: simulator(_PACED)),
        *(peer(found) for found in PEERS),
    ]


def count(subject: Subject, server: Running, seconds: float) -> Counted:
    """One stretch, counted by a process of its own. Raises NothingMeasured."""
    arguments = [
        *(sys.executable, "-m", "bench.token_streams", "--port", str(server.port), "--pid", str(server.pid)),
        *("--model", subject.model, "--streams", str(subject.streams)),
        *("--seconds", str(seconds)),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise NothingMeasured(f"{subject.name}: {done.stderr.strip()[-500:]}")
    return Counted(**json.loads(done.stdout))


def measure(subject: Subject, *, rounds: int, seconds: float, say: show.Say) -> Figure:
    with subject.start() as server:
        found = []
        for number in range(1, rounds + 1):
            say(f"{subject.name}: round {number} of {rounds}")
            found.append(count(subject, server, seconds))

    def median(of: Callable[[Counted], float]) -> float:
        return statistics.median(of(each) for each in found)

    return Figure(
        subject.name,
        subject.is_peer,
        subject.streams,
        answer_tokens=found[-1].answer_tokens,
        per_core=median(lambda each: each.tokens / each.server_cpu_s),
        per_s=median(lambda each: each.tokens / each.wall_s),
        server_cpu_ratio=median(lambda each: each.server_cpu_s / each.wall_s),
        client_cpu_ratio=median(lambda each: each.client_cpu_s / each.wall_s),
        tokens_per_read=median(lambda each: each.tokens / max(each.reads, 1)),
        failed=sum(each.failed for each in found),
    )


def print_figures(console: Console, figures: Sequence[Figure]) -> None:
    table = Table(title="streamed tokens", title_justify="left")
    table.add_column("server")
    for column in (
        "streams",
        "tokens an answer",
        "tokens/s per core",
        "tokens/s",
        "server CPU",
        "client CPU",
        "tokens per read",
        "failed",
    ):
        table.add_column(column, justify="right")
    for figure in figures:
        table.add_row(
            figure.name,
            str(figure.streams),
            str(figure.answer_tokens),
            f"{figure.per_core:,.0f}",
            f"{figure.per_s:,.0f}",
            f"{figure.server_cpu_ratio:.0%}",
            f"{figure.client_cpu_ratio:.0%}",
            f"{figure.tokens_per_read:.1f}",
            str(figure.failed),
        )
    console.print(table)
    console.print(
        "Per core: tokens by the server's CPU time, its children's included. A token is an event with text; "
        f"{ANSWER_TOKENS} an answer are asked for. Peers are told to wait for nothing."
    )
    for other in figures:
        if other.is_peer:
            console.print(f"{figures[0].name}: {figures[0].per_core / other.per_core:.1f}× {other.name}")
    for own in figures:
        if not own.is_peer:
            failed = f", but {own.failed} requests failed" if own.failed else ""
            console.print(
                f"{own.name}: {own.per_core:,.0f} streamed tokens/s per core, "
                f"{own.per_core / AIM_PER_CORE:.2f}× the aim of {AIM_PER_CORE:,}{failed}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 the aim is reached, 1 it is not, 4 the simulator did not start or answer."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.model_server",
        description="Streamed tokens per second and core; exit 1 when the simulator bears fewer than "
        f"{AIM_PER_CORE:,}.",
    )
    parser.add_argument("--quick", action="store_true", help="half a minute instead of two")
    parser.add_argument("--no-peers", action="store_true", help="the simulator alone: nothing is installed")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    console = show.console()
    rounds, seconds = (1, 3.0) if options.quick else (3, 6.0)
    figures: list[Figure] = []
    absent: list[str] = []
    with Status("starting", console=console) as status:
        say = show.progress(console, status)
        for subject in subjects():
            if subject.is_peer and options.no_peers:
                continue
            say(f"{subject.name}: starting")
            try:
                figures.append(measure(subject, rounds=rounds, seconds=seconds, say=say))
            except (CannotInstall, DidNotStart, NothingMeasured) as error:
                if not subject.is_peer:
                    print(f"error: {error}", file=sys.stderr)
                    return 4
                absent.append(str(error))
    for reason in absent:
        console.print(f"[yellow]left out:[/] {escape(reason)}")
    print_figures(console, figures)
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1), "utf-8")
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
