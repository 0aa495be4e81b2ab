"""What can go wrong with a server that is measured, as sentences for whoever measures."""

from __future__ import annotations


class CalibrationError(Exception):
    """The server cannot be measured; the message says why and what to do."""
