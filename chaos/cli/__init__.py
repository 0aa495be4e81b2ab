"""The `ragquake` command: what people type, and what their shell gets back.

Each command is a thin door to a room that does the work. Errors become one clear message on standard
error and one of six exit codes (docs/reference/exit-codes.md); no traceback reaches a person.
"""

from __future__ import annotations

import os
import sys

import typer
from rich.markup import escape
from typer.exceptions import TyperException

from chaos.cli import calibrating, judging, looking, running, standing
from chaos.cli.shared import app, errors
from chaos.control.fault_proxy import FaultProxyError
from chaos.errors import RagquakeError
from chaos.exit_codes import ExitCode
from slo.bundle import BundleError
from slo.documents import DocumentError
from slo.history import HistoryBusyError

__all__ = ["app", "calibrating", "judging", "looking", "main", "running", "standing"]


def main() -> None:
    """Entry point: runs the command and turns every error into a message and an exit code."""
    try:
        result = app(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except typer.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except TyperException as error:
        told = f"{error.format_message()} Try ragquake --help, or ragquake COMMAND --help."
        errors.print(escape(told), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.USAGE)
    except DocumentError as error:
        for problem in error.problems:
            errors.print(escape(problem), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.USAGE)
    except (RagquakeError, FaultProxyError) as error:
        errors.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.ENVIRONMENT)
    except (BundleError, HistoryBusyError) as error:
        errors.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.USAGE)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if os.environ.get("RAGQUAKE_DEBUG"):
            raise
        told = f"ragquake itself failed: {type(error).__name__}: {error}; RAGQUAKE_DEBUG=1 shows where"
        errors.print(escape(told), style="red", highlight=False, soft_wrap=True)
        sys.exit(ExitCode.ENVIRONMENT)
