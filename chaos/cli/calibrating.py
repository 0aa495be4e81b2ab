"""`calibrate`: the simulator held to a live model server.

The work is the simulator's own (`rag_service.model_server.calibration`), and a process of its own: this
package drives the service and imports nothing of it. Flags are passed on as they are given; defaults and
what is allowed are said there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from chaos.cli.shared import app, example

COMMAND = (sys.executable, "-m", "rag_service.model_server.calibration", "live")
_STOP_S = 10.0


@app.command(epilog=example("ragquake calibrate --against http://127.0.0.1:8000 --out mine.toml --verify"))
def calibrate(
    against: Annotated[str, typer.Option(help="The server: OpenAI's API over plain HTTP on loopback.")],
    model: Annotated[str | None, typer.Option(help="One that it serves; the first, unless named.")] = None,
    concurrency: Annotated[str, typer.Option(help="Requests at a time; a level for each number.")] = "1,8,32",
    prompt_tokens: Annotated[str, typer.Option(help="Prompts are drawn from this range.")] = "32-512",
    max_tokens: Annotated[str, typer.Option(help="Answers are drawn from this range.")] = "16-64",
    requests: Annotated[
        int,
        typer.Option(help="Requests of one caller that count, at least 40; three times as many in company."),
    ] = 240,
    max_num_seqs: Annotated[
        int | None, typer.Option(help="What the server was told; a guess, unless given.")
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option(help="What the server was told; a guess, unless given.")
    ] = None,
    kv_blocks: Annotated[
        int | None, typer.Option(help="The server's; what its metrics say, unless given.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run the fitted simulator as a process, too, at the same load.")
    ] = False,
    tolerance: Annotated[float, typer.Option(help="Exit 1 when a figure is further off.")] = 0.2,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of prompts and lengths; a new one, unless given: prompts that the server has seen before "
            "are in its prefix cache."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the preset to this TOML file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this SVG file.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this JSON file.")
    ] = None,
) -> None:
    """Fit the simulator to a live model server.

    The server is measured, the simulator fitted to it, and the two compared at the same load.
    """
    given = {
        "against": against,
        "model": model,
        "concurrency": concurrency,
        "prompt-tokens": prompt_tokens,
        "max-tokens": max_tokens,
        "requests": requests,
        "max-num-seqs": max_num_seqs,
        "max-num-batched-tokens": max_num_batched_tokens,
        "kv-blocks": kv_blocks,
        "tolerance": tolerance,
        "seed": seed,
        "out": out,
        "plot": plot,
        "json": json_file,
    }
    flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
    raise typer.Exit(_run([*COMMAND, *flags, *(["--verify"] if verify else [])]))


def _run(command: list[str]) -> int:
    """Its exit code. Ctrl-C reaches both processes; the other ends what it has started before it ends."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            return process.wait(_STOP_S)
        finally:
            process.kill()
