"""`stop`: the safety lever, from any terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from chaos.cli.shared import app, console, example
from chaos.exit_codes import ExitCode


@app.command(epilog=example('ragquake stop "a release goes out"', "ragquake stop --release"))
def stop(
    reason: Annotated[
        str, typer.Argument(help="Why; those who are stopped are told.")
    ] = "somebody needs the machine",
    release: Annotated[bool, typer.Option("--release", help="Let runs start again.")] = False,
) -> None:
    """Stop every run on this machine.

    Faults are rolled back, and no new run starts until --release.
    """
    if release:
        from chaos.safety.lever import release as release_lever

        lever = release_lever()
        told = f"released {lever.path}; it was pulled for: {lever.reason}" if lever else "no lever was pulled"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
        return
    from chaos.clock import SystemClock
    from chaos.safety.stopping import stop_all

    stopped = stop_all(reason, SystemClock())
    console.print(stopped.sentence(), highlight=False, markup=False, soft_wrap=True)
    if stopped.going:
        raise typer.Exit(ExitCode.ENVIRONMENT)
