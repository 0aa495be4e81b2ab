"""The errors that the `ragquake` command turns into a sentence and an exit status.

RagquakeError
├── EnvironmentFailure   a part, a port, a proxy, the machine: exit 4
└── RunRefused           the run may not start now (lock, safety lever): exit 4

Wrong files are `slo.documents.DocumentError`: exit 2.
"""

from __future__ import annotations


class RagquakeError(Exception):
    """An error whose message is written for the person at the terminal."""


class EnvironmentFailure(RagquakeError):
    """Something that the run needs is missing or died; the message says what to do."""


class RunRefused(RagquakeError):
    """The run may not start now; the message says who is in the way."""
