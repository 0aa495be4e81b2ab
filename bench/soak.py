"""`python -m bench.soak` (`make soak`): does anything grow that should not?

Streams and JSON answers arrive at half of capacity, some callers hang up in mid-answer, and every few seconds
the service is looked at: its own memory (USS where the system tells it), descriptors, threads, connections,
asyncio tasks. After a warm-up a line is laid through each; what it gains, against a stated tolerance, is the
verdict. All may gain two and a half standard deviations of their own noise. Memory is judged by the last
half alone, when caches are full, and may gain 1 KiB an answer: a share of its 600 MiB would hide a leak of
several KiB an answer for hours. What did not see good answers and real hang-ups is no verdict.
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
from bench.load import Exchange
from bench.processes import ROOT, DidNotStart, Running, otlp_sink, processes
from bench.service import golden_questions

EVERY_S = 2.0
MEMORY_PER_ANSWER_MIB = 1.0 / 1024.0
LEAST_GOOD_RATIO = 0.99
#: Counts are small whole numbers; a line through noise alone gains this much or less nearly always.
_NOISE = 2.5
_LEAST_COUNT = 2.0
_LEAST_MEMORY_MIB = 1.0
#: In mid-stream: the simulator's first token comes after 0.1 s, its last after 0.4 s.
_HANG_UP_S = 0.3
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


def trend(
    name: str, times: Sequence[float], values: Sequence[float], *, least: float = _LEAST_COUNT
) -> Trend:
    """A least-squares line through the values. Needs two samples at different times."""
    slope, intercept = statistics.linear_regression(times, values)
    first, last = intercept + slope * times[0], intercept + slope * times[-1]
    residuals = [value - (intercept + slope * at) for at, value in zip(times, values, strict=True)]
    # the standard error of a line's gain over n points is sqrt(12 / n) of that of one point
    error = statistics.pstdev(residuals) * (12.0 / len(values)) ** 0.5
    return Trend(name, first, last, max(least, _NOISE * error))


def trends(samples: Sequence[Sample], rate: float) -> list[Trend]:
    """One for each quantity, under `rate` answers a second."""
    times = [sample.at_s for sample in samples]
    counts = ("descriptors", "threads", "connections", "tasks")
    late = samples[len(samples) // 2 :]
    answers = rate * (late[-1].at_s - late[0].at_s)
    return [
        trend(
            "memory, last half (MiB)",
            [sample.at_s for sample in late],
            [sample.memory_mib for sample in late],
            least=max(_LEAST_MEMORY_MIB, MEMORY_PER_ANSWER_MIB * answers),
        ),
        *(trend(name, times, [float(getattr(sample, name)) for sample in samples]) for name in counts),
    ]


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was seen of the service, and what came of the questions."""

    samples: list[Sample]
    waited: tuple[Exchange, ...]
    hung_up: tuple[Exchange, ...]

    @property
    def good(self) -> int:
        return sum(_LIMITS.good(exchange) for exchange in self.waited)

    @property
    def cut_in_mid_answer(self) -> int:
        """Answers of which at least one token had come when their reader left."""
        return sum(exchange.ending == "given_up" and exchange.tokens > 0 for exchange in self.hung_up)

    @property
    def unusable(self) -> str | None:
        """Why nothing can be said by this, if so."""
        if len(self.samples) < 10:
            return f"{len(self.samples)} samples are too few to judge by; ask for more --minutes"
        if self.good < LEAST_GOOD_RATIO * len(self.waited) or not self.waited:
            return (
                f"{self.good} of {len(self.waited)} answers were good, {LEAST_GOOD_RATIO:.0%} are needed; "
                f"soak on a quieter machine, or with fewer --max-running"
            )
        if self.cut_in_mid_answer * 2 <= len(self.hung_up):
            return (
                f"{self.cut_in_mid_answer} of {len(self.hung_up)} hang-ups came in mid-answer, most should; "
                f"soak on a quieter machine"
            )
        return None


def soak(service: Running, rate: float, seconds: float, say: show.Say) -> Soaked:
    """Samples from after the first tenth, in which caches and pools fill."""
    finished: dict[str, Load] = {}
    questions = golden_questions()
    url = service.url + "/v1/answers"

    def asks(name: str, share: float, **options: object) -> threading.Thread:
        def work() -> None:
            finished[name] = load(url, questions, rate=rate * share, seconds=seconds, **options)

        return threading.Thread(target=work)

    # nine in ten wait for the end; the others hang up in mid-stream, without having said that they would
    asking = [
        asks("streams", 0.6, stream=True),
        asks("wholes", 0.3, seed=2),
        asks("hung up", 0.1, stream=True, give_up_s=_HANG_UP_S, seed=3),
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
    waited = finished["streams"].exchanges + finished["wholes"].exchanges
    return Soaked(samples, waited, finished["hung up"].exchanges)


def report(console: Console, found: Sequence[Trend], done: Soaked) -> None:
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
    console.print(
        f"{done.good} of {len(done.waited)} answers were good; "
        f"{done.cut_in_mid_answer} of {len(done.hung_up)} hang-ups came in mid-answer"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 nothing grows, 1 something does, 3 no verdict, 4 no start."""
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
            if capacity <= 0.0:
                print(
                    "error: no good answer came from the model, so there is no load to soak with",
                    file=sys.stderr,
                )
                return 3
            say(f"half of {capacity:.1f} answers/s for {options.minutes:g} min")
            done = soak(service, capacity / 2.0, options.minutes * 60.0, say)
    except DidNotStart as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    if (reason := done.unusable) is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 3
    found = trends(done.samples, capacity / 2.0)
    report(console, found, done)
    if options.json:
        figures = {
            "capacity_per_s": capacity,
            "samples": [asdict(sample) for sample in done.samples],
            "good": done.good,
            "waited": len(done.waited),
            "hung_up": len(done.hung_up),
            "cut_in_mid_answer": done.cut_in_mid_answer,
            "trends": [asdict(one) | {"grows": one.grows} for one in found],
        }
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")
    return 1 if any(one.grows for one in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
