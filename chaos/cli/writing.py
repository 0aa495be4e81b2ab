"""Commands for those who write files: `init`, `validate`, `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from chaos.cli.shared import Json, app, console, example, say
from chaos.exit_codes import ExitCode


@app.command(epilog=example("ragquake init slow-search", "ragquake init", "ragquake validate my-first.yaml"))
def init(
    name: Annotated[str, typer.Argument(help="Of the experiment; the file is NAME.yaml.")] = "my-first",
) -> None:
    """Write a first experiment to run and to change.

    It has a comment for each part, and the schema by which editors check it.
    """
    from chaos.experiment.first import SCHEMA, write_first
    from chaos.schemas import as_text, schema_of

    path = write_first(name, Path())
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(as_text(schema_of("experiment")), encoding="utf-8")
    console.print(f"wrote {escape(str(path))}; next:", highlight=False)
    for command in (f"validate {path}", f"run {path} --dry-run", f"run {path}"):
        console.print(f"  ragquake {escape(command)}", highlight=False)


@app.command(epilog=example("ragquake validate chaos/experiments", "ragquake validate staging.yaml --json"))
def validate(
    paths: Annotated[
        list[Path], typer.Argument(help="Files of experiments, objectives, suites, targets; or folders.")
    ],
    as_json: Json = False,
) -> None:
    """Check files without starting anything.

    As CI does: exit 2 when anything is wrong.

    Beyond what a run asks of an experiment: somebody to ask, a stop condition, faults that are used, can be
    undone and are gone before the end, and a judged phase before the first of them.
    """
    from chaos.checking import check_files, files_in
    from slo.documents import DocumentError

    checked = check_files(files_in(paths))
    problems = [problem for one in checked for problem in one.problems]
    if as_json:
        rows = [
            {"file": str(one.path), "kind": one.kind, "name": one.name, "problems": list(one.problems)}
            for one in checked
        ]
        say(json.dumps({"valid": not problems, "files": rows}, indent=1))
        raise typer.Exit(ExitCode.USAGE if problems else ExitCode.PASSED)
    for one in checked:
        if not one.problems:
            note = "  a base for others" if one.kind == "Base" else ""
            console.print(f"[green]✓[/] {escape(str(one.path))}{note}", highlight=False)
    if problems:
        raise DocumentError(problems)


@app.command(epilog=example("ragquake schema", "ragquake schema objectives > objectives.schema.json"))
def schema(
    kind: Annotated[str, typer.Argument(help="experiment, objectives, suite or target.")] = "experiment",
) -> None:
    """Print the JSON Schema of a kind of file, for editors.

    Of draft 2020-12.
    """
    from chaos.schemas import as_text, schema_of

    say(as_text(schema_of(kind)).rstrip("\n"))
