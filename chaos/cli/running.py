"""Commands that start a run: `run` and `breaking-point`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from chaos.cli import completing, together
from chaos.cli.shared import (
    Json,
    Llm,
    Model,
    Overrides,
    Owned,
    Redact,
    Runs,
    State,
    app,
    complain,
    console,
    errors,
    example,
    say,
)

if TYPE_CHECKING:
    from chaos.experiment import LoadedExperiment
    from chaos.run.campaign import CampaignPlan
    from chaos.run.events import EventStream
    from chaos.run.progress import TerminalProgress
    from chaos.run.runner import RunResult
    from chaos.run.surroundings import Surroundings


@app.command(
    epilog=example(
        "ragquake run spike",
        "ragquake run spike --dry-run",
        "ragquake run my-experiment.yaml --set phases.fault.for=20s",
        "ragquake run slow-vector-db --control --repeats 3",
        "ragquake run smoke --json | jq -c 'select(.event != \"moment\")'",
    )
)
def run(
    experiment: Annotated[
        str,
        typer.Argument(
            help="A bundled experiment's name, or a YAML file.", autocompletion=completing.experiments
        ),
    ],
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and what it would touch; start nothing.")
    ] = False,
    stack: Annotated[
        str,
        typer.Option(
            help="local: processes on this machine; compose: docker-compose.yml; or the target file of a "
            "service that runs already.",
            autocompletion=completing.stacks,
        ),
    ] = "local",
    owned: Owned = False,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="So many runs, each with the next seed; as the experiment says, unless given.", min=1, max=50
        ),
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Also run its negative controls, which must fail.")
    ] = False,
    compare_to: Annotated[
        str | None,
        typer.Option(
            help="Also run it on another version: other settings, e.g. breaker.min_calls=5, or a target file."
        ),
    ] = None,
    llm: Llm = "simulator",
    model: Model = None,
    runs: Runs = Path("runs"),
    state: State = Path(".ragquake"),
    redact: Redact = False,
    as_json: Json = False,
) -> None:
    """Run an experiment, judge it, report.

    Starts the stack, drives the load, injects the faults, takes them out, and says whether the objectives
    held.
    """
    from chaos.cli.last_word import last_word
    from chaos.experiment import find_experiment, load_experiment
    from chaos.experiment.needs import require_possible
    from chaos.run.events import EventStream
    from chaos.run.relay import Relay
    from chaos.run.surroundings import surroundings
    from chaos.stack.model_servers import LlmRequest
    from chaos.stack.opening import require_kind

    stream = EventStream(sys.stdout) if as_json and not dry_run else None
    with last_word(stream):
        asked = LlmRequest.parse(llm, model, stack)
        loaded = load_experiment(find_experiment(experiment), overrides or ())
        target = require_kind(stack, owned=owned)
        require_possible(loaded, stack, asked.llm, target)
        several = together.plan_together(loaded, repeats, control, compare_to)
        if dry_run:
            _dry_run(loaded, surroundings(stack, asked, state, os.environ, target), runs, as_json, several)
            return
        from chaos.run.options import RunOptions
        from chaos.run.runner import run_experiment

        options = RunOptions(runs, state, stack, asked, owned, target, redact)
        progress = Relay(stream or _announced(loaded))
        if several is not None:
            from chaos.run.campaign import run_campaign

            ended = run_campaign(several, options, progress)
            progress.drain()
            together.tell(ended, stream)
            raise typer.Exit(ended.exit_code)
        result = run_experiment(loaded, options, progress)
        progress.drain()
        _tell(result, stream)
    raise typer.Exit(result.exit_code)


def _announced(loaded: LoadedExperiment) -> TerminalProgress:
    """What a person sees of a run, from its name on."""
    from chaos.run.progress import TerminalProgress
    from slo.units import format_duration

    title = escape(loaded.experiment.title)
    length = format_duration(loaded.experiment.duration_s)
    console.print(f"[bold]{loaded.experiment.name}[/]  {title}  ({length} of load)", highlight=False)
    return TerminalProgress(console)


def _tell(result: RunResult, stream: EventStream | None) -> None:
    """How a run ended, to people or to machines."""
    from slo.report import terminal

    if stream is not None:
        stream.verdict(
            result.verdict,
            bundle=str(result.bundle),
            status=result.status,
            message=result.message,
            exit_code=result.exit_code,
        )
        return
    terminal.render(result.verdict, console, bundle=result.bundle, exit_code=result.exit_code)
    if result.status in ("error", "interrupted"):  # in full: the line above has lost its breaks
        errors.print(f"[bold]{result.status}[/]: {escape(result.message)}", highlight=False)


def _dry_run(
    loaded: LoadedExperiment, around: Surroundings, runs: Path, as_json: bool, several: CampaignPlan | None
) -> None:
    """What a run would do and touch; nothing is started, connected to or written."""
    from chaos.cli.plan import show_experiment, show_forecast
    from chaos.run.forecast import forecast

    planned = forecast(loaded, around, runs)
    if as_json:
        rows = {} if several is None else {"runs": together.planned_rows(several)}
        say(json.dumps(planned.as_record() | rows, indent=1, ensure_ascii=False))
        return
    show_experiment(loaded, console)
    show_forecast(planned, console)
    if several is not None:
        console.print("\nThat once for each of these runs, with what they change:", highlight=False)
        together.show_planned(several, as_json)


@app.command(
    "breaking-point",
    epilog=example("ragquake breaking-point spike --over slow-vector-db.latency --from 0ms --to 4s"),
)
def breaking_point_(
    experiment: Annotated[
        str,
        typer.Argument(
            help="The experiment whose fault or load is varied.", autocompletion=completing.experiments
        ),
    ],
    over: Annotated[
        str, typer.Option("--over", help="FAULT.PARAMETER to vary, e.g. slow-vector-db.latency.")
    ],
    lowest: Annotated[str, typer.Option("--from", help="The smallest value, e.g. 0ms.")],
    highest: Annotated[str, typer.Option("--to", help="The largest value, e.g. 4s.")],
    steps: Annotated[int, typer.Option(help="Steps of the staircase.", min=2, max=12)] = 5,
    hold: Annotated[str, typer.Option(help="How long each step is held.")] = "30s",
    refine: Annotated[int, typer.Option(help="Further runs that halve the bracket.", min=0, max=6)] = 1,
    overrides: Overrides = None,
    llm: Llm = "simulator",
    model: Model = None,
    runs: Runs = Path("runs"),
    state: State = Path(".ragquake"),
    as_json: Json = False,
) -> None:
    """Find the size of a fault at which it breaks.

    Walks the size up a staircase, then halves the bracket between the last good and the first bad step.
    """
    from chaos.cli.last_word import last_word
    from chaos.run.options import RunOptions
    from chaos.run.progress import SilentProgress, TerminalProgress
    from chaos.run.relay import Relay
    from chaos.search.breaking_point import Search, search_breaking_point
    from chaos.stack.model_servers import LlmRequest

    asked = LlmRequest.parse(llm, model)
    search = Search(experiment, over, lowest, highest, steps, hold, refine, tuple(overrides or ()))
    shown = SilentProgress() if as_json else TerminalProgress(console)
    with last_word(None), closing(Relay(shown)) as progress:
        found = search_breaking_point(search, RunOptions(runs, state, llm=asked), progress)
    if found.message:
        complain(found.message)
    if as_json:
        say(json.dumps(found.as_record(), indent=1))
    else:
        console.print(found.sentence(), highlight=False)
    raise typer.Exit(found.exit_code)
