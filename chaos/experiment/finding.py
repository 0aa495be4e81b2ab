"""Where experiments are: files by their path, and by name those of ./chaos/experiments and the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slo.documents import DocumentError, did_you_mean

BUNDLED = Path(__file__).parents[1] / "experiments"


def find_experiment(name_or_path: str, folders: Sequence[Path] = ()) -> Path:
    """The file of an experiment, by path or by the name of a bundled one. Raises DocumentError."""
    given = Path(name_or_path)
    if name_or_path and (_is_path(name_or_path) or _is_file(given)):
        if not _is_file(given):
            if given.is_dir():
                raise DocumentError([f"{given}: is a folder; name a file in it, or an experiment"])
            raise DocumentError([f"{given}: there is no such file"])
        return given
    places = [*folders, Path("chaos/experiments"), BUNDLED]
    for place in places:
        if _is_file(place / f"{name_or_path}.yaml"):
            return place / f"{name_or_path}.yaml"
    known = sorted({path.stem for place in places for path in place.glob("*.yaml")})
    if here := beside(name_or_path):
        raise DocumentError([f"no experiment is called {name_or_path!r}; for the file {here} give its path"])
    raise DocumentError(
        [
            f"no experiment is called {name_or_path!r}{did_you_mean(name_or_path, known)}; "
            f"there are: {', '.join(known)}; or give the path of a file"
        ]
    )


def find_base(name_or_path: str, of: Path) -> Path:
    """What a file `extends`: a path relative to it, or a name beside it or in the catalogue.

    A file that extends its own name means the catalogue's. Raises ValueError with what there is.
    """
    if _is_path(name_or_path):
        path = of.parent / name_or_path
        if not _is_file(path):
            raise ValueError(f"there is no file {path}; a path is relative to the file that extends it")
        return path
    places = [place for place in (of.parent, Path("chaos/experiments"), BUNDLED) if place.is_dir()]
    for place in places:
        path = place / f"{name_or_path}.yaml"
        if _is_file(path) and path.resolve() != of.resolve():
            return path
    known = sorted({path.stem for place in places for path in place.glob("*.yaml")})
    raise ValueError(
        f"no experiment is called {name_or_path!r}{did_you_mean(name_or_path, known)}; "
        f"there are: {', '.join(known)}; or give a path relative to this file"
    )


def beside(name: str) -> str:
    """The file here that a name without its ending means, or nothing."""
    return next((f"{name}{end}" for end in (".yaml", ".yml") if name and _is_file(Path(name + end))), "")


def _is_file(path: Path) -> bool:
    """Whether it is one; a name that no file system takes (too long, a NUL in it) is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith((".yaml", ".yml"))
