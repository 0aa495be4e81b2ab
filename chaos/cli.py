"""The `ragquake` command: what people type, and what their shell gets back.

Each command is a thin door to a room that does the work. Errors become one clear message on standard
error and one of six exit codes (docs/reference/exit-codes.md); no traceback reaches a person.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chaos import __version__
from chaos.errors import RagquakeError
from chaos.exit_codes import ExitCode
from chaos.fault_proxy import FaultProxyError
from slo.documents import DocumentError
from slo.units import format_duration

app = typer.Typer(
    name="ragquake",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Shows whether a RAG service survives a tenfold spike and a failing part, and where it breaks.",
    epilog="Start with: [bold]ragquake doctor[/], then [bold]ragquake run spike[/].",
)
console = Console()
errors = Console(stderr=True)

Runs = Annotated[Path, typer.Option("--runs", help="The folder in which runs leave their bundles.")]
State = Annotated[
    Path, typer.Option("--state", help="The folder for what outlives a run (index, proxy, lock).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value, e.g. load.baseline_rate=1/s or service.resilience=off."),
]
BundleArgument = Annotated[Path, typer.Argument(help="A bundle: the folder that a run left behind.")]
LATEST = Path("runs/latest")


@app.command(epilog="Example: ragquake run spike --set phases.fault.for=20s")
def run(
    experiment: Annotated[str, typer.Argument(help="A bundled experiment's name, or a YAML file.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, start nothing.")] = False,
    stack: Annotated[
        str, typer.Option(help="local: processes on this machine; compose: docker-compose.yml.")
    ] = "local",
    runs: Runs = Path("runs"),
    state: State = Path(".ragquake"),
    as_json: Json = False,
) -> None:
    """Run an experiment: start the stack, drive the load, inject the faults, judge, report."""
    from chaos.experiment import find_experiment, load_experiment
    from chaos.progress import SilentProgress, TerminalProgress
    from slo.report import terminal

    loaded = load_experiment(find_experiment(experiment), overrides or ())
    if dry_run:
        _show_plan(loaded, as_json)
        return
    from chaos.runner import RunOptions, run_experiment

    progress = SilentProgress() if as_json else TerminalProgress(console)
    if not as_json:
        title = escape(loaded.experiment.title)
        length = format_duration(loaded.experiment.duration_s)
        console.print(f"[bold]{loaded.experiment.name}[/]  {title}  ({length} of load)", highlight=False)
    result = run_experiment(loaded, RunOptions(runs=runs, state=state, stack=stack), progress)
    if as_json:
        print(result.verdict.model_dump_json())
    else:
        terminal.render(result.verdict, console, bundle=result.bundle)
        if result.status in ("error", "interrupted", "stopped"):
            errors.print(f"[bold]{result.status}[/]: {escape(result.message)}", highlight=False)
    raise typer.Exit(result.exit_code)


@app.command("list", epilog="Example: ragquake list faults")
def list_(
    what: Annotated[str, typer.Argument(help="experiments or faults.")] = "experiments", as_json: Json = False
) -> None:
    """List the bundled experiments, or the kinds of faults."""
    from chaos.catalogue import experiment_rows, fault_rows

    tables = {"experiments": experiment_rows, "faults": fault_rows}
    if what not in tables:
        raise typer.BadParameter(f"{what!r} cannot be listed; allowed: {', '.join(tables)}")
    rows = tables[what]()
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)


@app.command(epilog="Example: ragquake explain latency")
def explain(what: Annotated[str, typer.Argument(help="A kind of fault, or an experiment.")]) -> None:
    """Explain a fault (parameters, bounds, what it looks like) or an experiment (its plan)."""
    from chaos.catalogue import explain_fault
    from chaos.experiment import find_experiment, load_experiment

    if (text := explain_fault(what)) is not None:
        console.print(escape(text), highlight=False)
        return
    _show_plan(load_experiment(find_experiment(what)), as_json=False)


@app.command(epilog="Example: ragquake validate chaos/experiments")
def validate(
    paths: Annotated[list[Path], typer.Argument(help="Experiment files, or folders of them.")],
) -> None:
    """Check experiment files without starting anything."""
    from chaos.experiment import find_experiment, load_experiment

    files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    if not files:
        raise DocumentError([f"no experiment files (*.yaml) in {', '.join(map(str, paths))}"])
    problems: list[str] = []
    for file in files:
        try:
            load_experiment(find_experiment(str(file)))
            console.print(f"[green]✓[/] {escape(str(file))}", highlight=False)
        except DocumentError as error:
            problems += error.problems
    if problems:
        raise DocumentError(problems)


@app.command(epilog="Example: ragquake evaluate runs/latest")
def evaluate(bundle: BundleArgument = LATEST, as_json: Json = False) -> None:
    """Judge a bundle again, from its files alone; the same bundle gives the same verdict.json."""
    from chaos.judgement import judge
    from slo.report import terminal

    verdict = judge(_existing_bundle(bundle))
    if as_json:
        print(verdict.model_dump_json())
    else:
        terminal.render(verdict, console, bundle=bundle)
    raise typer.Exit(verdict.exit_code)


@app.command(epilog="Example: ragquake report runs/latest")
def report(bundle: BundleArgument = LATEST) -> None:
    """Write report.html, summary.md and junit.xml of a bundle again, from its verdict.json."""
    from slo import report as reports
    from slo.verdict import FILE, Verdict

    folder = _existing_bundle(bundle)
    try:
        verdict = Verdict.model_validate_json((folder / FILE).read_text())
    except (OSError, ValueError):
        raise DocumentError(
            [f"{folder / FILE}: missing or unreadable; run ragquake evaluate {bundle}"]
        ) from None
    reports.write(folder, verdict)
    console.print(str(folder / "report.html"), highlight=False)


@app.command("breaking-point")
def breaking_point_(
    experiment: Annotated[str, typer.Argument(help="The experiment whose fault or load is varied.")],
    over: Annotated[
        str, typer.Option("--over", help="FAULT.PARAMETER to vary, e.g. slow-vector-db.latency.")
    ],
    lowest: Annotated[str, typer.Option("--from", help="The smallest value, e.g. 0ms.")],
    highest: Annotated[str, typer.Option("--to", help="The largest value, e.g. 4s.")],
    steps: Annotated[int, typer.Option(help="Steps of the staircase.", min=2, max=12)] = 5,
    hold: Annotated[str, typer.Option(help="How long each step is held.")] = "30s",
    refine: Annotated[int, typer.Option(help="Further runs that halve the bracket.", min=0, max=6)] = 1,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    state: State = Path(".ragquake"),
    as_json: Json = False,
) -> None:
    """Find where it breaks: walk a fault's size up a staircase, then halve the bracket.

    Example: ragquake breaking-point spike --over slow-vector-db.latency --from 0ms --to 4s
    """
    from chaos.breaking_point import Search, search_breaking_point
    from chaos.progress import SilentProgress, TerminalProgress
    from chaos.runner import RunOptions

    search = Search(experiment, over, lowest, highest, steps, hold, refine, tuple(overrides or ()))
    progress = SilentProgress() if as_json else TerminalProgress(console)
    found = search_breaking_point(search, RunOptions(runs=runs, state=state), progress)
    progress.close()
    if as_json:
        print(json.dumps(found.as_record(), indent=1))
    else:
        console.print(found.sentence(), highlight=False)
    raise typer.Exit(found.exit_code)


@app.command()
def history(runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Show the verdicts and breaking points of earlier runs."""
    from chaos.catalogue import history_rows

    rows = history_rows(runs)
    if as_json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        console.print(f"no runs are recorded in {runs}; start one with: ragquake run steady")
    else:
        table = Table(box=None, pad_edge=False)
        for column in rows[0]:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape("–" if value is None else str(value)) for value in row.values()))
        console.print(table)


@app.command(epilog="Example: ragquake rollback runs/latest")
def rollback(
    bundle: BundleArgument = LATEST,
    force: Annotated[bool, typer.Option("--force", help="Even though its runner is still alive.")] = False,
) -> None:
    """Undo what a dead run left behind: faults, proxies, processes. Can be run twice."""
    from chaos.rollback import rollback as roll_back

    outcome = roll_back(_existing_bundle(bundle), by="ragquake rollback", force=force)
    console.print(escape(outcome.sentence()), highlight=False)


@app.command(epilog="Example: ragquake up, then curl the address that it prints.")
def up(
    port: Annotated[
        list[str] | None, typer.Option("--port", help="PART=NUMBER, e.g. service=8080; others are free ones.")
    ] = None,
    state: State = Path(".ragquake"),
) -> None:
    """Start the stack and leave it running, to try things by hand; `ragquake down` stops it."""
    from chaos.stack.ports import parse_ports
    from chaos.stack.up import up as bring_up

    progress = _terminal_progress()
    try:
        result = bring_up(state, ports=parse_ports(port or ()), on_progress=progress.step)
    finally:
        progress.close()
    console.print(escape(result.sentence()), highlight=False)


@app.command()
def down(state: State = Path(".ragquake")) -> None:
    """Stop the stack that `ragquake up` started."""
    from chaos.stack.up import down as bring_down

    console.print(escape(bring_down(state).sentence()), highlight=False)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what this machine offers and what follows from it."""
    from chaos import doctor as doctors

    findings = doctors.examine()
    if as_json:
        print(json.dumps([doctors.as_record(finding) for finding in findings], indent=1))
    else:
        doctors.render(findings, console)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def proxy(context: typer.Context) -> None:
    """Run the built-in fault proxy (Toxiproxy's API); see ragquake proxy --help."""
    from chaos.proxy.__main__ import main as proxy_main

    proxy_main(context.args)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Entry point: runs the command and turns every error into a message and an exit code."""
    try:
        result = app(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except DocumentError as error:
        for problem in error.problems:
            errors.print(escape(problem), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.USAGE)
    except (RagquakeError, FaultProxyError) as error:
        errors.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.ENVIRONMENT)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _existing_bundle(bundle: Path) -> Path:
    if not (bundle / "journal.jsonl").is_file():
        raise DocumentError(
            [f"{bundle}: not a bundle (it has no journal.jsonl); ragquake run leaves bundles in runs/"]
        )
    return bundle.resolve()


def _terminal_progress() -> Any:
    from chaos.progress import TerminalProgress

    return TerminalProgress(console)


def _show_plan(loaded: Any, as_json: bool) -> None:
    from chaos.catalogue import plan_rows

    rows = plan_rows(loaded)
    if as_json:
        print(json.dumps({"experiment": loaded.experiment.name, "phases": rows}, indent=1))
        return
    console.print(f"[bold]{loaded.experiment.name}[/]  {escape(loaded.experiment.title)}", highlight=False)
    console.print(escape(loaded.experiment.hypothesis), highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
    console.print(f"valid; {format_duration(loaded.experiment.duration_s)} of load", highlight=False)
