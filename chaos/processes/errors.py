"""What can go wrong with a process, said with what to do about it."""

from __future__ import annotations

from chaos.errors import EnvironmentFailure


class ProcessFaultError(EnvironmentFailure):
    """A process could not be treated as asked; the message says which, why, and what to do."""
