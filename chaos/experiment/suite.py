"""A suite: a list of experiments with a time budget, as CI runs it.

Each of its experiments is loaded with its changes before anything starts, so that a suite fails of a typo at
once and not after twenty minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from chaos.experiment.finding import beside, find_experiment
from chaos.experiment.kinds import require_kind
from chaos.experiment.loading import LoadedExperiment, load_experiment
from chaos.experiment.part import BoundedDuration, Name, Part
from slo.documents import DocumentError, did_you_mean, read_document

BUNDLED = Path(__file__).parents[1] / "suites"
Value = str | int | float | bool


class SuiteEntry(Part):
    """One experiment of a suite."""

    name: str = Field(min_length=1, description="a bundled experiment's name, or a path beside the suite")
    set: dict[str, Value] = Field(
        default_factory=dict, description="values that are changed, as with --set: `phases.fault.for: 20s`"
    )
    control: bool = Field(False, description="whether its negative controls run, too")


class Suite(Part):
    """Experiments that run one after the other, within a budget."""

    api_version: Literal["ragquake/v1"] = Field(alias="apiVersion")
    kind: Literal["Suite"]
    name: Name = Field(description="of the suite; `ragquake suite NAME` runs it")
    title: str = Field("", max_length=200, description="what it is for, in a line")
    budget_s: BoundedDuration = Field(
        alias="budget", description="the time for all of it; what does not fit is not started, and is told"
    )
    experiments: Annotated[tuple[SuiteEntry, ...], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A suite with its experiments, each as its entry wants it."""

    path: Path
    suite: Suite
    experiments: tuple[LoadedExperiment, ...]


def find_suite(name_or_path: str, folders: Sequence[Path] = ()) -> Path:
    """The file of a suite, by path or by the name of a bundled one. Raises DocumentError."""
    given = Path(name_or_path)
    if given.suffix in (".yaml", ".yml"):
        if not given.is_file():
            raise DocumentError([f"{given}: there is no such file"])
        return given
    places = [*folders, Path("chaos/suites"), BUNDLED]
    for place in places:
        if (place / f"{name_or_path}.yaml").is_file():
            return place / f"{name_or_path}.yaml"
    known = sorted({path.stem for place in places for path in place.glob("*.yaml")})
    if here := beside(name_or_path):
        raise DocumentError([f"no suite is called {name_or_path!r}; for the file {here} give its path"])
    raise DocumentError(
        [
            f"no suite is called {name_or_path!r}{did_you_mean(name_or_path, known)}; "
            f"there are: {', '.join(known)}; or give the path of a file"
        ]
    )


def load_suite(path: Path) -> LoadedSuite:
    """Read and check a suite and every experiment in it. Raises DocumentError with every problem."""
    document = read_document(path)
    require_kind(document, "Suite")
    suite = document.validate(Suite)
    loaded, problems = [], []
    for index, entry in enumerate(suite.experiments):
        overrides = [f"{key}={_written(value)}" for key, value in entry.set.items()]
        try:
            found = load_experiment(_file_of(entry.name, path), overrides)
        except DocumentError as error:
            problems += [document.problem(("experiments", index), problem) for problem in error.problems]
            continue
        if entry.control and not found.experiment.negative_controls:
            problem = f"{entry.name} has no negative_control to run"
            problems.append(document.problem(("experiments", index, "control"), problem))
        loaded.append(found)
    if problems:
        raise DocumentError(problems)
    return LoadedSuite(path, suite, tuple(loaded))


def _file_of(name: str, suite: Path) -> Path:
    """A path is relative to the suite's file."""
    if Path(name).suffix in (".yaml", ".yml"):
        return find_experiment(str(suite.parent / name))
    return find_experiment(name)


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
