"""Files of experiments, objectives, suites and targets, checked one by one without starting anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.experiment import AbstractExperimentError, load_experiment
from chaos.experiment.finding import find_experiment
from chaos.experiment.lint import lint
from chaos.experiment.suite import load_suite
from chaos.stack.target import load_target
from slo import objectives
from slo.documents import DocumentError, did_you_mean, read_document


@dataclass(frozen=True, slots=True)
class Checked:
    """A file, what it is, and what is wrong with it."""

    path: Path
    kind: str
    name: str
    problems: tuple[str, ...]


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and the YAML files of folders. Raises DocumentError where there are none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml"))
            if not inside:
                raise DocumentError([f"{path}: no *.yaml files are in this folder"])
            found += inside
        else:
            found.append(path if path.is_file() else find_experiment(str(path)))
    return list(dict.fromkeys(found))


def check_files(paths: Sequence[Path]) -> list[Checked]:
    """Check every file; two experiments of one name are a problem of the second."""
    checked: list[Checked] = []
    for path in paths:
        one = _check(path)
        twin = next((other for other in checked if (other.kind, other.name) == (one.kind, one.name)), None)
        if twin is not None and one.name:
            problem = f"{path}: {twin.path} has the name {one.name!r}, too; reports could not tell them apart"
            one = Checked(path, one.kind, one.name, (*one.problems, problem))
        checked.append(one)
    return checked


def _check(path: Path) -> Checked:
    kind, name = "file", ""
    try:
        document = read_document(path)
        name = str(document.data.get("name", ""))
        kind = str(document.data.get("kind", "Experiment" if "extends" in document.data else ""))
        if kind not in _CHECKS:
            known = ", ".join(_CHECKS)
            wrong = f"{kind!r} is no kind of file{did_you_mean(kind, _CHECKS)}" if kind else "is missing"
            message = f"{wrong}; allowed: {known}"
            raise DocumentError([document.problem(("kind",), message)])
        _CHECKS[kind](path)
    except AbstractExperimentError:
        kind = "Base"
    except DocumentError as error:
        return Checked(path, kind, name, error.problems)
    return Checked(path, kind, name, ())


def _check_experiment(path: Path) -> None:
    if problems := lint(load_experiment(path)):
        raise DocumentError(problems)


_CHECKS: Mapping[str, Callable[[Path], object]] = {
    "Experiment": _check_experiment,
    "Objectives": objectives.load,
    "Suite": load_suite,
    "Target": lambda path: load_target(path, owned=True),
}
"""How a file of each kind is checked."""
