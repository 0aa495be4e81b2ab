"""`variables`: scalars with names, put in wherever a value says `${name}`, before anything is read.

So a variable can be a rate in one place and part of a title in another, and a wrong one is refused by
whatever reads it, with the line where it is used and the place where it got its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slo.documents import Document, DocumentError, Location, Mark, did_you_mean

MAX_LENGTH = 200
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_USE = re.compile(r"\$\{([^{}]*)\}")


def substitute(document: Document, reserved: frozenset[str], may_be_unused: bool) -> Document:
    """The document with its variables put in and `variables` gone. Raises DocumentError with every problem.

    `reserved` are names that would be read as keys after `--set`; `may_be_unused` is for a base, whose
    variables are for those that extend it.
    """
    work = _Substitution(document, reserved)
    data = {key: work.value(value, (key,)) for key, value in document.data.items() if key != "variables"}
    if not may_be_unused:
        work.complain_of_unused()
    if work.problems:
        raise DocumentError(work.problems)
    marks = {at: mark for at, mark in document.marks.items() if at[:1] != ("variables",)}
    return Document(document.path, data, marks | work.marks)


class _Substitution:
    def __init__(self, document: Document, reserved: frozenset[str]) -> None:
        self.problems: list[str] = []
        self.marks: dict[Location, Mark] = {}
        self._document = document
        self._used: set[str] = set()
        self._values = self._declared(reserved)

    def _declared(self, reserved: frozenset[str]) -> dict[str, str | int | float | bool]:
        written = self._document.data.get("variables", {})
        if not isinstance(written, Mapping):
            self._complain(("variables",), "must be a mapping of names to values, such as {peak: 10x}")
            return {}
        values: dict[str, str | int | float | bool] = {}
        for name, value in written.items():
            if problem := _problem(name, value, reserved):
                self._complain(("variables", name), problem)
                value = ""
            values[name] = value
        return values

    def value(self, value: Any, location: Location) -> Any:
        if isinstance(value, Mapping):
            return {self._key(key, location): self.value(one, (*location, key)) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, (*location, index)) for index, one in enumerate(value)]
        return self._text(value, location) if isinstance(value, str) and "${" in value else value

    def _key(self, key: str, location: Location) -> str:
        if "${" in key:
            self._complain((*location, key), "variables stand in values, not in keys")
        return key

    def _text(self, text: str, location: Location) -> Any:
        names = _USE.findall(text)
        if "${" in _USE.sub("", text):
            self._complain(location, f"{text!r} begins a variable and does not end it; write ${{name}}")
            return text
        unknown = [name for name in names if name not in self._values]
        for name in unknown:
            known = ", ".join(self._values) or "none"
            hint = did_you_mean(name, self._values)
            self._complain(
                location, f"no variable is called {name!r}{hint}; declared under variables: {known}"
            )
        if unknown:
            return text
        self._used.update(names)
        self.marks[location] = self._mark(location, names)
        if _USE.fullmatch(text):
            return self._values[names[0]]
        return _USE.sub(lambda found: _text_of(self._values[found[1]]), text)

    def _mark(self, location: Location, names: list[str]) -> Mark:
        """Where it is used, and where what is used got its value."""
        told = [
            f"${{{name}}} is {self._values[name]!r} by {self._document.mark_of(('variables', name))}"
            for name in dict.fromkeys(names)
        ]
        return replace(self._document.mark_of(location), note="; ".join(told))

    def complain_of_unused(self) -> None:
        """Of variables that this file or `--set` gives a value, and nothing uses: one is mistyped."""
        for name in self._values:
            source = self._document.mark_of(("variables", name)).source
            inherited = source != self._document.path and not str(source).startswith("--set")
            if name not in self._used and not inherited:
                others = [other for other in self._values if other != name]
                self._complain(("variables", name), f"nothing uses ${{{name}}}{did_you_mean(name, others)}")

    def _complain(self, location: Location, message: str) -> None:
        self.problems.append(self._document.problem(location, message))


def _problem(name: str, value: Any, reserved: frozenset[str]) -> str:
    if not NAME.fullmatch(name):
        return f"{name!r} cannot name a variable; begin with a letter, use a-z, 0-9 and _, at most 40"
    if name in reserved:
        return f"{name!r} is a key of experiments, and --set {name}=… would mean that; name it otherwise"
    if not isinstance(value, str | int | float | bool):
        return f"{value!r} is not one value; a variable is a text, a number, true or false"
    if "${" in str(value):
        return f"{value!r} uses another variable; put its value here"
    if len(str(value)) > MAX_LENGTH:
        return f"is {len(str(value))} characters long; at most {MAX_LENGTH} are allowed"
    return ""


def _text_of(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
