"""Commands on a bundle: `evaluate`, `report`, `rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from chaos.cli import completing
from chaos.cli.shared import LATEST, BundleArgument, Json, app, console, example, existing_bundle, say
from chaos.exit_codes import ExitCode


@app.command(epilog=example("ragquake evaluate runs/latest"))
def evaluate(bundle: BundleArgument = LATEST, as_json: Json = False) -> None:
    """Judge a bundle again, from its files alone.

    The same bundle gives the same verdict.json, byte for byte.
    """
    from chaos.run.judgement import judge
    from slo.report import terminal

    verdict = judge(existing_bundle(bundle))
    if as_json:
        say(verdict.to_json().rstrip())
    else:
        terminal.render(verdict, console, bundle=bundle)
    raise typer.Exit(verdict.exit_code)


@app.command(epilog=example("ragquake report runs/latest"))
def report(bundle: BundleArgument = LATEST) -> None:
    """Write the reports of a bundle again.

    report.html, summary.md and junit.xml are made from its verdict.json.
    """
    from slo import report as reports
    from slo.documents import DocumentError
    from slo.verdict import FILE, Verdict

    folder = existing_bundle(bundle)
    try:
        verdict = Verdict.model_validate_json((folder / FILE).read_text())
    except (OSError, ValueError):
        raise DocumentError(
            [f"{folder / FILE}: missing or unreadable; run ragquake evaluate {bundle}"]
        ) from None
    reports.write(folder, verdict)
    console.print(str(folder / "report.html"), highlight=False)


@app.command(epilog=example("ragquake rollback runs/latest", "ragquake rollback runs/NAME.campaign"))
def rollback(
    bundle: Annotated[
        Path,
        typer.Argument(
            help="A bundle, or the .campaign folder of several runs: all of them.",
            autocompletion=completing.bundles,
        ),
    ] = LATEST,
    force: Annotated[bool, typer.Option("--force", help="Even though its runner is still alive.")] = False,
) -> None:
    """Undo what a dead run left behind.

    Faults are taken out, proxies deleted, processes ended. It can be run twice.
    """
    from chaos.run.campaign.record import FILE, folders_of
    from chaos.safety.rollback import rollback as roll_back

    is_campaign = (bundle / FILE).is_file()
    folders = folders_of(bundle) if is_campaign else [existing_bundle(bundle)]
    outcomes = [roll_back(folder, by="ragquake rollback", force=force) for folder in folders]
    for outcome in outcomes:
        where = f"{outcome.bundle.name}: " if is_campaign and not outcome.nothing_to_do else ""
        console.print(escape(f"{where}{outcome.sentence()}"), highlight=False, soft_wrap=True)
    if not outcomes:
        console.print(f"{escape(str(bundle))}: none of its runs has left a bundle", highlight=False)
    if not all(outcome.clean for outcome in outcomes):
        raise typer.Exit(ExitCode.ENVIRONMENT)
