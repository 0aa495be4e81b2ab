"""What is said and which exit code is given when a command ends in an error.

Nothing is imported for an error that did not come: `--help` and completion are asked for at every key.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from typer.exceptions import TyperException

from chaos.errors import RagquakeError
from chaos.exit_codes import ExitCode

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Told:
    """The lines for standard error, and the exit code."""

    lines: tuple[str, ...]
    code: ExitCode


def usage(error: TyperException) -> str:
    """A wrong command line: what is wrong, what was perhaps meant, where to look it up."""
    said = error.format_message().strip()
    if said.startswith("Usage:"):  # no command was named, and the message is the whole help
        return said
    near = sorted(getattr(error, "possibilities", None) or ())
    if near:
        said = f"{getattr(error, 'message', said)} (did you mean {' or '.join(near)}?)"
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "ragquake"
    joint = " " if said.endswith("?") else "; "
    return f"{said.rstrip('.')}{joint}{where} --help shows what there is"


def told_of(error: Exception) -> Told | None:
    """A foreseen error in words for the person at the terminal; None for a bug in ragquake."""
    from chaos.control.fault_proxy import FaultProxyError
    from slo.documents import DocumentError

    if isinstance(error, DocumentError):
        return Told(error.problems, ExitCode.USAGE)
    if isinstance(error, RagquakeError | FaultProxyError):
        return Told((str(error),), ExitCode.ENVIRONMENT)
    if isinstance(error, OSError) and error.filename is not None:
        return _of_file(error)
    from slo.bundle import BundleError
    from slo.history import HistoryBusyError

    if isinstance(error, BundleError | HistoryBusyError):
        return Told((str(error),), ExitCode.USAGE)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return _of_file(error)
    return None


def _of_file(error: OSError) -> Told:
    where = error.filename if error.filename is not None else "a file of this run"
    why = (error.strerror or type(error).__name__).lower()
    if error.errno in _NO_SPACE:
        advice = "; make room there, or name folders elsewhere with --runs and --state"
    elif error.errno in _NOT_WRITABLE:
        advice = "; name folders that you may write to with --runs and --state"
    else:
        advice = ""
    return Told((f"{where}: {why}{advice}",), ExitCode.ENVIRONMENT)
