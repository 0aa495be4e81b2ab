"""Runs that belong together: `suite`, and `run` with `--repeats`, `--control` or `--compare-to`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chaos.cli import completing
from chaos.cli.shared import Json, Llm, Model, Owned, Redact, Runs, State, app, console, example, show_rows

if TYPE_CHECKING:
    from chaos.experiment import LoadedExperiment
    from chaos.run.campaign import CampaignPlan, CampaignResult
    from chaos.run.events import EventStream


@app.command(
    epilog=example("ragquake suite ci", "ragquake suite ci --dry-run", "ragquake suite mine.yaml --json")
)
def suite(
    name: Annotated[
        str,
        typer.Argument(help="A bundled suite's name, or a YAML file.", autocompletion=completing.suites),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, start nothing.")] = False,
    stack: Annotated[str, typer.Option(help="As for run; a local one is shared.")] = "local",
    owned: Owned = False,
    llm: Llm = "simulator",
    model: Model = None,
    runs: Runs = Path("runs"),
    state: State = Path(".ragquake"),
    redact: Redact = False,
    as_json: Json = False,
) -> None:
    """Run a list of experiments within a time budget.

    Those that need the same stack share it. Leaves one JUnit file and one summary for all of them.
    """
    from chaos.cli.last_word import last_word
    from chaos.experiment.suite import find_suite, load_suite
    from chaos.run.campaign import run_campaign
    from chaos.run.campaign.suites import plan_suite
    from chaos.run.events import EventStream
    from chaos.run.options import RunOptions
    from chaos.run.progress import TerminalProgress
    from chaos.run.relay import Relay
    from chaos.stack.model_servers import LlmRequest

    stream = EventStream(sys.stdout) if as_json and not dry_run else None
    with last_word(stream):
        asked = LlmRequest.parse(llm, model, stack)
        options = RunOptions(runs, state, stack, asked, owned, redact=redact)
        plan = plan_suite(load_suite(find_suite(name)), options)
        if dry_run:
            show_planned(plan, as_json)
            return
        progress = Relay(stream or TerminalProgress(console))
        result = run_campaign(plan, options, progress)
        progress.drain()
        tell(result, stream)
    raise typer.Exit(result.exit_code)


def plan_together(
    loaded: LoadedExperiment, repeats: int | None, control: bool, compare_to: str | None
) -> CampaignPlan | None:
    """The runs that were asked for; nothing where that is the experiment once. Raises DocumentError."""
    from chaos.run.campaign import CampaignPlan, arms_of, plan_runs
    from chaos.run.campaign.arms import OtherVersion

    other = OtherVersion.parse(compare_to) if compare_to is not None else None
    arms = arms_of(loaded, control=control, compare_to=other)
    planned = plan_runs(arms, repeats or loaded.experiment.repeats)
    return CampaignPlan("campaign", loaded.experiment.name, planned) if len(planned) > 1 else None


def planned_rows(plan: CampaignPlan) -> list[dict[str, Any]]:
    """The runs in their order."""
    from slo.units import format_duration

    return [
        {
            "run": one.name,
            "load": format_duration(one.loaded.experiment.duration_s),
            "seed": one.loaded.experiment.load.seed,
            "expected": "pass" if one.arm.control is None else "fail",
            "changed": ", ".join(one.loaded.overrides) or "nothing",
        }
        for one in plan.runs
    ]


def show_planned(plan: CampaignPlan, as_json: bool) -> None:
    """The runs in their order, and how much load that is."""
    from slo.units import format_duration

    show_rows(planned_rows(plan), as_json)
    if not as_json:
        load = format_duration(sum(one.loaded.experiment.duration_s for one in plan.runs))
        budget = f"; within {format_duration(plan.budget_s)}" if plan.budget_s is not None else ""
        console.print(f"{len(plan.runs)} runs, {load} of load in all{budget}", highlight=False)


def tell(result: CampaignResult, stream: EventStream | None) -> None:
    """What the runs came to, for people or for machines."""
    record = result.record
    if stream is not None:
        facts = record.model_dump(mode="json", by_alias=True)
        stream.tell("campaign", folder=str(result.folder), exit_code=result.exit_code, campaign=facts)
        return
    from slo.report import wording
    from slo.units import format_duration

    rows = [
        {
            "counts as": one.counts_as or "inconclusive",
            "run": one.name,
            "verdict": one.verdict or one.status or "not started",
            "expected": one.expect,
            "took": format_duration(one.took_s) if one.took_s is not None else wording.NOTHING,
        }
        for one in record.runs
    ]
    console.print()
    first, *others = (wording.clean(sentence) for sentence in record.sentences)
    word = "Interrupted" if record.status == "interrupted" else wording.JUDGEMENTS[record.verdict].word
    headline = f"{word}: {record.name}: {first}"
    for line in (headline, *(f"  {other}" for other in others), ""):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    show_rows(rows, as_json=False)
    console.print(f"summary.md and junit.xml are in {result.folder}", highlight=False, soft_wrap=True)
