"""The segment table applied to one span at a time, for those who cannot wait for the SQL.

It must take the same spans as `Selector.where` and `Segment.failure` do: a test holds the one to the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from slo.segments import Segment

ERROR = "Error"


class SpanMatcher:
    """One segment, ready to be asked about many spans."""

    def __init__(self, segment: Segment) -> None:
        self._name = _any_of(segment.name)
        self._kind = _any_of(segment.kind)
        self._attributes = {key: _any_of(patterns) for key, patterns in segment.attributes.items()}
        self._failed = segment.failed

    def takes(self, name: str, kind: str, attributes: Mapping[str, str]) -> bool:
        """Whether a span belongs to the segment."""
        if not (self._name.fullmatch(name) and self._kind.fullmatch(kind)):
            return False
        return all(
            key in attributes and pattern.fullmatch(attributes[key])
            for key, pattern in self._attributes.items()
        )

    def failed(self, status: str, attributes: Mapping[str, str]) -> bool:
        """Whether a span of the segment failed."""
        return status == ERROR or any(attributes.get(key) in values for key, values in self._failed.items())


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """`*` stands for anything; no pattern at all takes everything."""
    written = [".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns or ("*",)]
    return re.compile("|".join(written), re.DOTALL)
