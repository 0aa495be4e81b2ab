"""What every command shares: the application, the consoles, the options, and tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from chaos.cli import completing
from chaos.cli.grouped_help import GroupedCommands

app = typer.Typer(
    name="ragquake",
    no_args_is_help=True,
    cls=GroupedCommands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Shows whether a RAG service survives a tenfold spike and a failing part, and where it breaks.",
    epilog="Start with: ragquake doctor, then: ragquake run spike.",
)


class SteadyConsole(Console):
    """A console whose reader may leave: a run is not ended by that, and keeps its own exit code."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        hush(sys.stderr if self.stderr else sys.stdout)


console = SteadyConsole()
errors = SteadyConsole(stderr=True)

Runs = Annotated[Path, typer.Option("--runs", help="The folder in which runs leave their bundles.")]
State = Annotated[
    Path, typer.Option("--state", help="The folder for what outlives a run (index, proxy, lock).")
]
Redact = Annotated[
    bool,
    typer.Option("--redact", help="Leave the text of questions and answers out of the bundle."),
]
Owned = Annotated[
    bool,
    typer.Option(
        "--i-own-this-target",
        help="What a target file lists may also be public, link-local or a metadata service.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change one value, e.g. load.baseline_rate=1/s or service.resilience=off; as often as you like.",
    ),
]
Llm = Annotated[
    str,
    typer.Option(
        "--llm",
        help="The model server: simulator, vllm, or the URL of one that runs already.",
        autocompletion=completing.model_servers,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="With --llm vllm: the folder of a model, or ORGANISATION/MODEL of one in the local cache. "
        "With a URL: one that it serves.",
    ),
]
BundleArgument = Annotated[
    Path,
    typer.Argument(help="A bundle: the folder that a run left behind.", autocompletion=completing.bundles),
]
LATEST = Path("runs/latest")


def example(*commands: str) -> str:
    """Commands to copy, for the end of a help text: no line of them is broken."""
    return "\b\n" + "\n".join(
        ["Example:" if len(commands) == 1 else "Examples:", *(f"  {c}" for c in commands)]
    )


def say(text: str) -> None:
    """Text for machines on standard output; a reader who has left is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        hush(sys.stdout)


def hush(stream: TextIO) -> None:
    """From now on what is written there goes nowhere: its reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(*lines: str, style: str = "red") -> None:
    """Lines on standard error, as they are."""
    for line in lines:
        errors.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def show_rows(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Rows as a table for people, or as JSON for machines."""
    from rich.markup import escape
    from rich.table import Table

    if as_json:
        say(json.dumps(list(rows), indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape("–" if value is None else str(value)) for value in row.values()))
    console.print(table)


def existing_bundle(bundle: Path) -> Path:
    """The folder itself, when it is a bundle. Raises DocumentError when it is none."""
    from slo.documents import DocumentError

    if (bundle / "campaign.json").is_file():
        raise DocumentError(
            [
                f"{bundle}: several runs, not a bundle; its summary.md names their bundles, each a folder "
                f"beside it (ragquake rollback takes it as a whole)"
            ]
        )
    if not (bundle / "journal.jsonl").is_file():
        raise DocumentError(
            [f"{bundle}: not a bundle (it has no journal.jsonl); ragquake run leaves bundles in runs/"]
        )
    return bundle.resolve()
