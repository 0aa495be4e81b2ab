"""Asks the system for as many open files as the connections may need.

Many systems allow a process 1,024 at first and far more on request. With fewer than the connections that are
allowed, a crowd ends in `accept` failing for everybody instead of a 503 for one too many.
"""

from __future__ import annotations

import resource


def allow(needed: int) -> str | None:
    """Raise the soft limit to `needed` if it is lower. Returns a warning where the system does not let us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        wanted = soft
    if wanted >= needed:
        return None
    return (
        f"only {wanted} files may be open, but the connections allowed may need {needed}; "
        f"raise the hard limit (ulimit -Hn) or lower RAG_MAX_CONNECTIONS"
    )
