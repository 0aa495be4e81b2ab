"""Commands that only look: `list`, `explain`, `history`, `doctor`, `version`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from chaos import __version__
from chaos.cli import completing
from chaos.cli.shared import Json, Runs, app, console, example, say, show_rows


@app.command("list", epilog=example("ragquake list", "ragquake list faults"))
def list_(
    what: Annotated[
        str, typer.Argument(help="experiments, faults or suites.", autocompletion=completing.lists)
    ] = "experiments",
    as_json: Json = False,
) -> None:
    """List the experiments, the kinds of faults, or the suites."""
    from chaos.catalogue import experiment_rows, fault_rows, suite_rows

    tables = {"experiments": experiment_rows, "faults": fault_rows, "suites": suite_rows}
    if what not in tables:
        raise typer.BadParameter(f"{what!r} cannot be listed; allowed: {', '.join(tables)}")
    rows = tables[what]()
    if what == "faults" and not as_json:
        shown = {"acts on": "needs", "kind": "kind", "what it does": "what it does"}
        rows = [{head: row[key] for head, key in shown.items()} for row in rows]
    show_rows(rows, as_json)
    if not as_json:
        more = {"faults": "explain KIND", "suites": "suite NAME --dry-run"}.get(what, "explain NAME")
        console.print(f"ragquake {more} tells more of one", highlight=False)


@app.command(epilog=example("ragquake explain latency", "ragquake explain spike"))
def explain(
    what: Annotated[
        str,
        typer.Argument(help="A kind of fault, or an experiment.", autocompletion=completing.explainable),
    ],
) -> None:
    """Explain a kind of fault, or an experiment.

    Of a fault: its parameters with their bounds, what it looks like, how it is undone. Of an experiment: its
    plan.
    """
    from chaos.catalogue import explain_fault, nearest_of
    from chaos.cli.plan import show_experiment
    from chaos.experiment import find_experiment, load_experiment
    from chaos.experiment.finding import beside
    from slo.documents import DocumentError

    if (text := explain_fault(what, min(console.width, 100))) is not None:
        console.print(escape(text), highlight=False, soft_wrap=True)
        return
    try:
        path = find_experiment(what)
    except DocumentError:
        if Path(what).suffix in (".yaml", ".yml") or beside(what):
            raise
        raise DocumentError([nearest_of(what)]) from None
    show_experiment(load_experiment(path), console)


@app.command(epilog=example("ragquake history --json"))
def history(runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Show the verdicts and breaking points of earlier runs."""
    from chaos.catalogue import history_rows

    rows = history_rows(runs)
    if rows or as_json:
        show_rows(rows, as_json)
    else:
        console.print(f"no runs are recorded in {runs}; start one with: ragquake run steady")


@app.command(epilog=example("ragquake doctor", "ragquake doctor --stack staging.yaml"))
def doctor(
    stack: Annotated[
        Path | None, typer.Option(help="Also look at the target of this file: is it fit for a run, now?")
    ] = None,
    owned: Annotated[
        bool, typer.Option("--i-own-this-target", help="As for ragquake run, for the target of --stack.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what this machine offers and what follows from it."""
    from chaos import doctor as doctors

    findings = doctors.examine()
    if stack is not None:
        from chaos.target_examinations import examine_target

        findings += examine_target(stack, owned=owned)
    if as_json:
        say(json.dumps([doctors.as_record(finding) for finding in findings], indent=1))
    else:
        doctors.render(findings, console)


@app.command(epilog=example("ragquake version"))
def version() -> None:
    """Print the version."""
    say(__version__)
