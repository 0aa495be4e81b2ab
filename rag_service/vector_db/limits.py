"""What a caller may make large, and how large: every bound is said when it is hit.

64 vectors of 384 numbers of about 22 characters are 0.5 MB, 256 such points 2.2 MB without their metadata. An
id must fit a URL. What is waited for is bounded, too, so that a slow disk ends in refusals and not in memory.
"""

from __future__ import annotations

MAX_K = 100
MAX_VECTORS = 64
MAX_POINTS = 256
MAX_IDS = 1024
MAX_ID_BYTES = 512
MAX_METADATA_BYTES = 16 * 1024
MAX_DIMENSION = 4096
MAX_SEARCH_BYTES = 2 * 1024 * 1024
MAX_WRITE_BYTES = 8 * 1024 * 1024

MAX_SEARCHES_WAITING = 1024
MAX_WRITES_WAITING = 64
"""At 8 MB each at most half a gigabyte; in practice a few megabytes."""

MAX_WRITTEN_POINTS = 200_000
"""Points that differ from the ingest: 0.3 GB of 384 numbers. More than that is a new corpus: ingest it."""

LOG_BYTES_PER_SNAPSHOT = 64 * 1024 * 1024
"""Beyond this a snapshot cuts the log: about 40,000 points of 384 numbers, read again in a second."""
