"""`python -m bench.soak` (`make soak`): does anything grow that should not?

Streams and JSON answers arrive at half of capacity, some callers hang up in mid-answer, and every few seconds
the service is looked at: its own memory (USS where the system tells it), descriptors, threads, connections,
asyncio tasks. After a warm-up a line is laid through each; what the line gains over the whole time, against a
stated tolerance, is the verdict. Memory may gain 5 % (caches fill, allocators keep pages), counts two and a
half standard deviations of their own noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.status import Status
from rich.table import Table

from bench import show
from bench.generator import Load, load
from bench.goodput import Limits, Peer, find_capacity
from bench.processes import ROOT, DidNotStart, Running, otlp_sink, processes
from bench.service import golden_questions

EVERY_S = 2.0
MEMORY_TOLERANCE_RATIO = 0.05
#: Counts are small whole numbers; a line through noise alone gains this much or less nearly always.
_NOISE = 2.5
_LEAST_COUNT = 2.0
_LIMITS = Limits(first_token_s=2.0, total_s=10.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at one moment."""

    at_s: float
    memory_mib: float
    descriptors: int
    threads: int
    connections: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Trend:
    """How one quantity went: its line's first and last value, and what it may gain."""

    name: str
    first: float
    last: float
    tolerance: float

    @property
    def gain(self) -> float:
        return self.last - self.first

    @property
    def grows(self) -> bool:
        return self.gain > self.tolerance


def look(service: Running, started: float) -> Sample:
    process = psutil.Process(service.pid)
    try:
        memory = process.memory_full_info().uss
    except (psutil.AccessDenied, AttributeError):
        memory = process.memory_info().rss
    return Sample(
        time.monotonic() - started,
        memory / 2**20,
        process.num_fds(),
        process.num_threads(),
        len(process.net_connections("tcp")),
        int(service.get("/bench")["tasks"]),
    )


def trend(name: str, times: Sequence[float], values: Sequence[float], *, memory: bool = False) -> Trend:
    """A least-squares line through the values. Needs two samples at different times."""
    slope, intercept = statistics.linear_regression(times, values)
    first, last = intercept + slope * times[0], intercept + slope * times[-1]
    if memory:
        return Trend(name, first, last, MEMORY_TOLERANCE_RATIO * first)
    residuals = [value - (intercept + slope * at) for at, value in zip(times, values, strict=True)]
    # the standard error of a line's gain over n points is sqrt(12 / n) of that of one point
    error = statistics.pstdev(residuals) * (12.0 / len(values)) ** 0.5
    return Trend(name, first, last, max(_LEAST_COUNT, _NOISE * error))


def trends(samples: Sequence[Sample]) -> list[Trend]:
    times = [sample.at_s for sample in samples]
    counts = ("descriptors", "threads", "connections", "tasks")
    return [
        trend("memory (MiB)", times, [sample.memory_mib for sample in samples], memory=True),
        *(trend(name, times, [float(getattr(sample, name)) for sample in samples]) for name in counts),
    ]


def soak(service: Running, rate: float, seconds: float, say: show.Say) -> tuple[list[Sample], Load]:
    """Samples from after the first tenth, in which caches and pools fill."""
    finished: list[Load] = []
    questions = golden_questions()
    url = service.url + "/v1/answers"
    # nine in ten wait for the end; the others hang up in mid-stream, at 0.3 s
    asking = [
        threading.Thread(
            target=lambda: finished.append(
                load(url, questions, stream=True, rate=rate * 0.6, seconds=seconds)
            )
        ),
        threading.Thread(
            target=lambda: finished.append(load(url, questions, rate=rate * 0.3, seconds=seconds, seed=2))
        ),
        threading.Thread(
            target=lambda: load(
                url, questions, stream=True, rate=rate * 0.1, seconds=seconds, give_up_s=0.3, seed=3
            )
        ),
    ]
    started = time.monotonic()
    for thread in asking:
        thread.start()
    samples: list[Sample] = []
    while any(thread.is_alive() for thread in asking):
        time.sleep(EVERY_S)
        sample = look(service, started)
        say(f"{sample.at_s:.0f} of {seconds:.0f} s, {sample.memory_mib:.0f} MiB")
        if seconds * 0.1 < sample.at_s < seconds:
            samples.append(sample)
    for thread in asking:
        thread.join()
    exchanges = tuple(exchange for part in finished for exchange in part.exchanges)
    return samples, Load(exchanges, seconds, sum(part.cpu_s for part in finished))


def report(console: Console, found: Sequence[Trend], done: Load) -> None:
    table = Table(title="soak", title_justify="left")
    table.add_column("what")
    for column in ("line begins at", "ends at", "gains", "may gain"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for one in found:
        verdict = "[red]grows[/]" if one.grows else "does not grow"
        numbers = (f"{value:.1f}" for value in (one.first, one.last, one.gain, one.tolerance))
        table.add_row(one.name, *numbers, verdict)
    console.print(table)
    good = sum(_LIMITS.good(exchange) for exchange in done.exchanges)
    console.print(f"{good} of {len(done.exchanges)} answers were good")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 nothing grows, 1 something does, 3 too little was seen, 4 no start."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Growth under steady load.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--index", type=Path, default=ROOT / ".ragquake/index", help="the index folder")
    parser.add_argument("--max-running", type=int, default=8, help="places in the model server")
    parser.add_argument("--json", type=Path, help="write samples and trends to this file")
    options = parser.parse_args(arguments)
    console = show.console()
    try:
        with Status("starting", console=console) as status, processes() as running, otlp_sink() as otlp:
            say = show.progress(console, status)
            vector_db = running.vector_db(options.index)
            llm = running.model_server(max_running=str(options.max_running))
            service = running.service("soaked", index=options.index, vector_db=vector_db, llm=llm, otlp=otlp)
            service.wait_until_ready("/readyz")
            peer = Peer(service, observed=True)
            capacity = find_capacity(
                peer, golden_questions(), _LIMITS, callers=(options.max_running * 2,), seconds=10.0, say=say
            )
            say(f"half of {capacity:.1f} answers/s for {options.minutes:g} min")
            samples, done = soak(service, capacity / 2.0, options.minutes * 60.0, say)
    except DidNotStart as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    if len(samples) < 10:
        print(
            f"error: {len(samples)} samples are too few to judge by; ask for more --minutes", file=sys.stderr
        )
        return 3
    found = trends(samples)
    report(console, found, done)
    if options.json:
        figures = {
            "capacity_per_s": capacity,
            "samples": [asdict(sample) for sample in samples],
            "trends": [asdict(one) | {"grows": one.grows} for one in found],
        }
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")
    return 1 if any(one.grows for one in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
