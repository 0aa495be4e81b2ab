"""A segment table for another service: how its spans are called.

What a segment is called is the same for all services, since objectives, faults and reports speak of segments.
A table may leave segments out, of which there are then no spans: what is said about them stays undecided. It
must have `request`, without which no answer joins its trace.
"""

from __future__ import annotations

from pathlib import Path

from slo.documents import DocumentError, did_you_mean, read_document
from slo.segments import Segment, SegmentTable, default_table

NO_SPAN = Segment(name=("(no span)",))


def read_table(path: Path) -> SegmentTable:
    """Read a table. Raises DocumentError with every problem."""
    document = read_document(path)
    table = document.validate(SegmentTable)
    known = tuple(default_table().segments)
    allowed = ", ".join(known)
    problems = [
        document.problem(
            ("segments", name),
            f"no segment is called {name!r}{did_you_mean(name, known)}; allowed: {allowed}",
        )
        for name in table.segments
        if name not in known
    ]
    if "request" not in table.segments:
        problems.append(document.problem(("segments",), "request is required, and is missing"))
    if problems:
        raise DocumentError(problems)
    filled = {name: table.segments.get(name, NO_SPAN) for name in known}
    return table.model_copy(update={"segments": filled})
