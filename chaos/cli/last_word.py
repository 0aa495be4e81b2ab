"""However a run ends, whoever started it gets a last word: a message for people, a last line for machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from chaos.cli.ending import told_of
from chaos.cli.shared import complain
from chaos.exit_codes import ExitCode

if TYPE_CHECKING:
    from chaos.run.events import EventStream

STOPPED = "stopped by a person"


@contextmanager
def last_word(stream: EventStream | None) -> Iterator[None]:
    """An event stream that ends in an error says so; a stop by a person is exit 130, with a reason."""
    try:
        yield
    except KeyboardInterrupt as reason:
        message = (
            str(reason) if len(str(reason).split()) > 1 else STOPPED
        )  # a signal's bare name tells little
        if stream is not None:
            stream.error(message, ExitCode.INTERRUPTED)
        complain(message)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:
        if stream is not None and not isinstance(error, typer.Exit):
            told = told_of(error)
            lines = told.lines if told else (f"ragquake itself failed: {type(error).__name__}: {error}",)
            stream.error("\n".join(lines), told.code if told else ExitCode.ENVIRONMENT)
        raise
