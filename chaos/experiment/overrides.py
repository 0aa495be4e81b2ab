"""`--set KEY=VALUE`: one value of an experiment changed for one run, checked like the file itself.

Overrides are applied before validation, so that a wrong one gets the same message as a wrong file, and
they stand in the journal, so that no run passes for the experiment that it was not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chaos.experiment.extending import OWN
from slo.documents import Document, DocumentError, Location, Mark, did_you_mean, parse_document


def apply_override(document: Document, override: str, keys: frozenset[str]) -> None:
    """Set one value, `load.baseline_rate=2/s` or `phases.spike.for=10s`, as if the file had said it.

    `keys` are those of an experiment; what is none of them is a variable of the document.
    """
    key, equals, value = override.partition("=")
    location: list[str | int] = [step for step in key.strip().split(".") if step]
    if not equals or not location:
        raise _wrong(override, "write KEY=VALUE, such as --set load.baseline_rate=2/s")
    if location[0] == "service" and len(location) > 1:
        location = ["service", ".".join(map(str, location[1:]))]
    variables = document.data.get("variables")
    if len(location) == 1 and isinstance(variables, dict) and location[0] in variables:
        location = ["variables", *location]
    elif location[0] not in keys:
        known = [*keys, *(variables or ())]
        hint = did_you_mean(str(location[0]), known)
        raise _wrong(override, f"{location[0]!r} is neither a key of experiments nor a variable{hint}")
    if location[0] in OWN:
        raise _wrong(override, f"{location[0]} says what a file is, and cannot be set")
    place: Any = document.data
    for index, step in enumerate(location[:-1]):
        place, location[index] = _step_into(place, str(step), override)
    if not isinstance(place, dict):
        raise _wrong(override, f"{'.'.join(map(str, location[:-1]))} holds no keys")
    is_setting = location[0] == "service"  # of the service, which reads what is in brackets itself
    place[str(location[-1])] = _scalar(value.strip()) if is_setting else _parsed(value.strip(), override)
    _mark(document, tuple(location), Mark(f"--set {override}", None))


def _mark(document: Document, location: Location, mark: Mark) -> None:
    for below in [one for one in document.marks if one[: len(location)] == location]:
        del document.marks[below]
    document.marks[location] = mark


def _step_into(place: Any, step: str, override: str) -> tuple[Any, str | int]:
    """What is there under that key or name, and its key or index."""
    if isinstance(place, dict):
        return place.setdefault(step, {}), step
    if isinstance(place, list):
        names = [str(item.get("name")) if isinstance(item, dict) else "" for item in place]
        if step in names:
            return place[names.index(step)], names.index(step)
        known = [name for name in names if name]
        raise _wrong(
            override, f"nothing is called {step!r}{did_you_mean(step, known)}; there are: {', '.join(known)}"
        )
    raise _wrong(override, f"{step!r} lies inside a single value")


def _wrong(override: str, message: str) -> DocumentError:
    return DocumentError([f"--set {override}: {message}"])


def _parsed(text: str, override: str) -> Any:
    """A single value, or with { } or [ ] around it a mapping or a list as the file would have it."""
    if text[:1] in ("{", "["):
        return parse_document(f"value: {text}", Path(f"--set {override}")).data["value"]
    return _scalar(text)


def _scalar(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else text
    except ValueError:
        return text
