"""`python -m bench.service` (`make bench-service`): what an answer costs, and what overload leaves of it.

Cost runs against a model server whose answers have a known length; goodput against the simulator with few
places (`--max-running`), so that the model is the bottleneck, as a GPU is, and not the two cores that all
processes share. Resilience on, off, and a tutorial's service answer the same questions from the same index
and model server.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.status import Status

from bench import show
from bench.cost import Cost, NothingMeasured, measure
from bench.goodput import Level, Limits, Peer, find_capacity, measure_level
from bench.processes import ROOT, DidNotStart, Processes, Running, otlp_sink, processes

SERVICES = ("resilience on", "resilience off", "tutorial")
MULTIPLES = (1.0, 2.0, 5.0, 10.0)
#: Patient limits for the cost alone: on a busy machine a late search would make another, cheaper answer.
_PATIENT = {
    "DEADLINE_S": "20",
    "EMBED__QUEUE_DEADLINE_S": "1.5",
    "EMBED__ATTEMPT_S": "2",
    "SEARCH__ATTEMPT_S": "2",
    "BREAKER__SLOW_SEARCH_S": "2",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to look."""

    cost_rounds: int
    cost_answers: int
    callers_per_place: tuple[int, ...]
    capacity_s: float
    level_s: float


QUICK = Plan(2, 48, (1, 2), 4.0, 5.0)
FULL = Plan(5, 200, (1, 2, 4), 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured, as `--json` writes it."""

    costs: list[Cost]
    capacity_per_s: float | None
    limits: Limits
    levels: list[Level]


def measure_costs(
    running: Processes, index: Path, against: Path | None, plan: Plan, questions: Sequence[str], say: show.Say
) -> list[Cost]:
    with otlp_sink() as otlp:
        vector_db = running.vector_db(index)
        llm = running.scripted_model(first_token_s=0.01, token_s=0.002)

        def service(name: str, otlp: str | None, checkout: Path = ROOT) -> Running:
            return running.service(
                name,
                index=index,
                vector_db=vector_db,
                llm=llm,
                otlp=otlp,
                checkout=checkout,
                settings=_PATIENT,
            )

        services = [service("telemetry on", otlp), service("telemetry off", None)]
        if against is not None:
            services.append(service(f"{against.name}, telemetry on", otlp, against))
        say("starting the services (each loads an embedding model)")
        for each in services:
            each.wait_until_ready("/readyz")
        return measure(services, questions, rounds=plan.cost_rounds, answers=plan.cost_answers, say=say)


def measure_goodput(
    running: Processes,
    index: Path,
    limits: Limits,
    plan: Plan,
    questions: Sequence[str],
    max_running: int,
    settings: Mapping[str, str],
    services: Sequence[str],
    say: show.Say,
) -> tuple[float, list[Level]]:
    """One service lives at a time: on two cores even an idle one would be a neighbour.

    The first finds the capacity whose multiples all are offered.
    """
    vector_db = running.vector_db(index)
    llm = running.model_server(max_running=str(max_running))
    capacity = 0.0
    levels: list[Level] = []
    for name in services:
        say(f"{name}: starting (loads an embedding model)")
        if name == "tutorial":
            peer = Peer(running.tutorial(index=index, llm=llm), observed=False)
            peer.running.wait_until_ready("/healthz")
        else:
            process = running.service(
                name,
                index=index,
                vector_db=vector_db,
                llm=llm,
                otlp=None,
                settings={"RESILIENCE": name.removeprefix("resilience ")}
                | (dict(settings) if name == "resilience on" else {}),
            )
            peer = Peer(process, observed=True)
            process.wait_until_ready("/readyz")
        if not capacity:
            callers = [places * max_running for places in plan.callers_per_place]
            capacity = find_capacity(
                peer, questions, limits, callers=callers, seconds=plan.capacity_s, say=say
            )
            if capacity < 1.0:
                raise NothingMeasured("fewer than one good answer a second: there is nothing to multiply")
        for multiple in MULTIPLES:
            say(f"goodput, {name}, {multiple:g}× of {capacity:.1f} answers/s")
            levels.append(
                measure_level(
                    peer, questions, limits, multiple=multiple, capacity=capacity, seconds=plan.level_s
                )
            )
        peer.running.end()
    return capacity, levels


def golden_questions() -> list[str]:
    lines = (ROOT / "journeys" / "golden_questions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines if line.strip()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit codes: 0 measured, 4 something did not start."""
    parser = argparse.ArgumentParser(prog="python -m bench.service", description="Cost and goodput.")
    parser.add_argument("--quick", action="store_true", help="some 4 minutes instead of 15")
    parser.add_argument("--only", choices=("cost", "goodput"), help="one half of it")
    parser.add_argument(
        "--services", nargs="+", choices=SERVICES, default=SERVICES, help="whose goodput (default: all)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the service with resilience on, such as ADMISSION__LIMITER=aimd",
    )
    parser.add_argument("--against", type=Path, help="another checkout, whose cost is shown beside")
    parser.add_argument("--index", type=Path, default=ROOT / ".ragquake/index", help="the index folder")
    parser.add_argument("--max-running", type=int, default=8, help="places in the model server")
    parser.add_argument("--first-token-s", type=float, default=1.5, help="limit on a good answer")
    parser.add_argument("--total-s", type=float, default=4.0, help="limit on a good answer")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    for setting in options.set:
        if "=" not in setting:
            parser.error(f"--set {setting!r} is not NAME=VALUE")
    plan = QUICK if options.quick else FULL
    limits = Limits(options.first_token_s, options.total_s)
    console = show.console()
    questions = golden_questions()
    costs: list[Cost] = []
    capacity: float | None = None
    levels: list[Level] = []
    started = time.monotonic()
    try:
        with Status("starting", console=console) as status:
            say = show.progress(console, status)
            if options.only != "goodput":
                with processes() as running:
                    against = options.against.resolve() if options.against else None
                    costs = measure_costs(running, options.index, against, plan, questions, say)
                show.costs(console, costs)
            if options.only != "cost":
                with processes() as running:
                    capacity, levels = measure_goodput(
                        running,
                        options.index,
                        limits,
                        plan,
                        questions,
                        options.max_running,
                        dict(setting.split("=", 1) for setting in options.set),
                        options.services,
                        say,
                    )
                show.levels(console, levels, capacity, limits)
    except (DidNotStart, NothingMeasured) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    console.print(f"took {time.monotonic() - started:.0f} s")
    if options.json:
        figures = Figures(costs, capacity, limits, levels)
        options.json.write_text(json.dumps(asdict(figures), indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
