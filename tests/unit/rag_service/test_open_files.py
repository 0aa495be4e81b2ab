"""Descriptors for all connections that are allowed, or a warning that there are too few."""

from __future__ import annotations

import resource

import pytest

from rag_service import open_files
from rag_service.settings import Settings


class System:
    """A soft and a hard limit, as the kernel keeps them."""

    def __init__(self, soft, hard, *, refuses=False):
        self.soft, self.hard, self._refuses = soft, hard, refuses

    def get(self, _):
        return self.soft, self.hard

    def set(self, _, limits):
        if self._refuses:
            raise ValueError("not allowed")
        self.soft, self.hard = limits


@pytest.mark.parametrize(
    ("system", "soft", "warns"),
    [
        (System(1024, 4096), 2000, False),
        (System(1024, resource.RLIM_INFINITY), 2000, False),
        (System(4096, 4096), 4096, False),
        (System(resource.RLIM_INFINITY, resource.RLIM_INFINITY), resource.RLIM_INFINITY, False),
        (System(1024, 1500), 1500, True),
        (System(1024, 4096, refuses=True), 1024, True),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(monkeypatch, system, soft, warns):
    """Never lowered, the hard one never touched; a warning says what is missing and what to do."""
    monkeypatch.setattr(resource, "getrlimit", system.get)
    monkeypatch.setattr(resource, "setrlimit", system.set)
    hard = system.hard
    warning = open_files.allow(2000)
    assert (system.soft, system.hard) == (soft, hard)
    assert (warning is not None) is warns
    if warns:
        assert f"only {soft} files" in warning
        assert "RAG_MAX_CONNECTIONS" in warning


def test_connections_and_pools_are_counted():
    """All callers and both pools at once, and some to spare."""
    settings = Settings(max_connections=100, search={"max_in_flight": 10}, generate={"max_in_flight": 20})
    assert settings.open_files == 100 + 20 + 40 + 64
