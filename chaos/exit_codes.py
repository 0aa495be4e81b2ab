"""What the exit status of `ragquake` means; CI and scripts build on it (docs/reference/exit-codes.md)."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The six ways a command can end."""

    PASSED = 0
    """Passed, or passed with warnings."""
    FAILED = 1
    """An objective or an assertion failed."""
    USAGE = 2
    """The command line or a file is wrong."""
    INCONCLUSIVE = 3
    """The run proved nothing."""
    ENVIRONMENT = 4
    """The environment or the harness failed; faults were rolled back."""
    INTERRUPTED = 130
    """Stopped by a person; faults were rolled back."""
