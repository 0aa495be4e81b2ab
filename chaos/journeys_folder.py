"""Where the journeys are and which there are, found without importing them (Locust patches the interpreter).

A journey is one file in `journeys/users/`, named as the journey; a contract test holds the two together.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from chaos.errors import EnvironmentFailure


def journeys_folder() -> Path:
    """The folder of the package `journeys`. Raises EnvironmentFailure when it is not installed."""
    spec = importlib.util.find_spec("journeys")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentFailure("the package journeys is not installed; run make setup")
    return Path(next(iter(spec.submodule_search_locations)))


def known_journeys() -> tuple[str, ...]:
    """The names of the journeys that an experiment can mix."""
    files = (journeys_folder() / "users").glob("[a-z]*.py")
    return tuple(sorted(file.stem for file in files))
