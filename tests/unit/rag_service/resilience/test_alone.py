"""Each piece is usable alone: it says how in its docstring, and what it says is run here."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

from rag_service import resilience

MODULES = sorted(module.name for module in pkgutil.iter_modules(resilience.__path__))
#: What an example would need a service for shows its use without running it.
SHOWN_ONLY = {"policy", "stream"}


@pytest.mark.parametrize("name", sorted(set(MODULES) - SHOWN_ONLY))
def test_its_docstring_has_an_example_that_is_true(name):
    """An example that has gone stale is worse than none."""
    result = doctest.testmod(importlib.import_module(f"rag_service.resilience.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_all_public_names_can_be_had_from_the_package():
    """`from rag_service.resilience import Breaker` is all that a reader has to know."""
    assert sorted(resilience.__all__) == sorted(set(resilience.__all__))
    assert all(hasattr(resilience, name) for name in resilience.__all__)


def test_nothing_of_the_service_around_it_is_needed():
    """The room stands on errors and the names of spans; neither web framework nor settings are pulled in."""
    program = (
        "import sys, rag_service.resilience;"
        "print(*[n for n in sys.modules if n.split('.')[0] in ('fastapi', 'httpx', 'numpy', 'pydantic')"
        " or n in ('rag_service.app', 'rag_service.settings', 'rag_service.pipeline')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
