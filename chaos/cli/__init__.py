"""The `ragquake` command: what people type, and what their shell gets back.

Each command is a thin door to a room that does the work, and imports that room only when it is called. Errors
become one clear message on standard error and one of six exit codes (docs/reference/exit-codes.md); no
traceback reaches a person.
"""

from __future__ import annotations

import io
import os
import sys

import typer
from typer.exceptions import TyperException

from chaos.cli import calibrating, judging, looking, running, standing, stopping, together, writing
from chaos.cli.ending import usage
from chaos.cli.shared import app, complain
from chaos.exit_codes import ExitCode

__all__ = [
    "app",
    "calibrating",
    "judging",
    "looking",
    "main",
    "running",
    "standing",
    "stopping",
    "together",
    "writing",
]


def main() -> None:
    """Entry point: runs the command and turns every error into a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a mark that the terminal cannot show costs no run
    try:
        result = app(prog_name="ragquake", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except TyperException as error:
        said = usage(error)
        complain(said, style="" if said.startswith("Usage:") else "red")
        sys.exit(ExitCode.USAGE)
    except Exception as error:
        from chaos.cli.ending import told_of

        if (told := told_of(error)) is not None:
            complain(*told.lines)
            sys.exit(told.code)
        if os.environ.get("RAGQUAKE_DEBUG"):
            raise
        complain(f"ragquake itself failed: {type(error).__name__}: {error}; RAGQUAKE_DEBUG=1 shows where")
        sys.exit(ExitCode.ENVIRONMENT)
