"""`extends`: an experiment that says only in what it differs from another.

Mappings that hold things by name (`load`, `load.journeys`, `service`, `variables`, `faults` and each fault)
are merged key by key; everything else is replaced as a whole, because half of one phase list and half of
another is nobody's experiment. `null` takes a key away. Each value keeps the mark of the file that says it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chaos.experiment.finding import find_base
from slo.documents import Document, DocumentError, Location, did_you_mean, read_document

MAX_LEVELS = 5
OWN = ("extends", "abstract")
"""Keys that say what a file itself is, and are not handed down."""
_MERGED: frozenset[Location] = frozenset(
    (
        (),
        ("load",),
        ("load", "journeys"),
        ("service",),
        ("variables",),
        ("faults",),
    )
)


def with_bases(document: Document) -> Document:
    """A file together with all that it extends. Raises DocumentError with the line of what is wrong."""
    chain = _read_chain(document)
    document = chain.pop()
    while chain:
        document = _merge(document, chain.pop())
    return document


def _read_chain(own: Document) -> list[Document]:
    """The file, its base, its base's base."""
    chain = [own]
    while "extends" in chain[-1].data:
        last = chain[-1]
        base = _base_of(last)
        if base.resolve() in [one.path.resolve() for one in chain]:
            circle = " extends ".join(str(path) for path in (*(one.path for one in chain), base))
            raise DocumentError([last.problem(("extends",), f"goes round in a circle: {circle}")])
        if len(chain) > MAX_LEVELS:
            raise DocumentError([last.problem(("extends",), f"at most {MAX_LEVELS} levels are allowed")])
        chain.append(read_document(base))
    if len(chain) > 1 and "name" not in own.data and not own.data.get("abstract"):
        message = f"is missing; what extends {own.data['extends']!r} needs a name of its own"
        raise DocumentError([own.problem(("name",), message)])
    return chain


def _base_of(document: Document) -> Path:
    named = document.data["extends"]
    if not isinstance(named, str) or not named:
        message = f"{named!r} is not the name of an experiment, nor the path of a file"
        raise DocumentError([document.problem(("extends",), message)])
    try:
        return find_base(named, document.path)
    except ValueError as error:
        raise DocumentError([document.problem(("extends",), str(error))]) from None


def _merge(base: Document, own: Document) -> Document:
    merging = _Merging(own)
    handed_down = {key: value for key, value in base.data.items() if key not in OWN}
    data = merging.value(handed_down, own.data, ())
    if merging.problems:
        raise DocumentError(merging.problems)
    kept = {at: mark for at, mark in base.marks.items() if not merging.has_replaced(at)}
    return Document(own.path, data, kept | own.marks)


class _Merging:
    """One file laid over another; remembers what it took away."""

    def __init__(self, own: Document) -> None:
        self.problems: list[str] = []
        self._own = own
        self._replaced: set[Location] = set()

    def has_replaced(self, location: Location) -> bool:
        """Whether a value of the base is there no more."""
        return any(location[:length] in self._replaced for length in range(1, len(location) + 1))

    def value(self, base: Any, own: Any, location: Location) -> Any:
        is_merged = location in _MERGED or (len(location) == 2 and location[0] == "faults")
        if not (is_merged and isinstance(base, dict) and isinstance(own, dict)):
            self._replaced.add(location)
            return own
        result = dict(base)
        for key, value in own.items():
            here = (*location, key)
            if value is not None:
                result[key] = self.value(base[key], value, here) if key in base else value
            elif key in base:
                self._replaced.add(here)
                del result[key]
            else:
                hint = f"{did_you_mean(key, base)}; there are: {', '.join(base)}"
                self.problems.append(self._own.problem(here, f"null takes away what is not there{hint}"))
        return result
