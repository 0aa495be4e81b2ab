"""`--set KEY=VALUE`: one value of an experiment changed for one run, checked like the file itself.

Overrides are applied before validation, so that a wrong one gets the same message as a wrong file, and
they stand in the journal, so that no run passes for the experiment that it was not.
"""

from __future__ import annotations

from typing import Any

from slo.documents import Document, DocumentError, did_you_mean


def apply_override(document: Document, override: str) -> None:
    """Set one value, `load.baseline_rate=2/s` or `phases.spike.for=10s`, as if the file had said it."""
    key, equals, value = override.partition("=")
    steps = [step for step in key.strip().split(".") if step]
    if not equals or not steps:
        raise DocumentError([f"--set {override}: write KEY=VALUE, such as --set load.baseline_rate=2/s"])
    if steps[0] == "service" and len(steps) > 1:
        steps = ["service", ".".join(steps[1:])]
    place: Any = document.data
    for step in steps[:-1]:
        place = _step_into(place, step, override)
    if not isinstance(place, dict):
        raise DocumentError([f"--set {override}: {'.'.join(steps[:-1])} holds no keys"])
    place[steps[-1]] = _scalar(value.strip())


def _step_into(place: Any, step: str, override: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(step, {})
    if isinstance(place, list):
        named = [item for item in place if isinstance(item, dict) and item.get("name") == step]
        if named:
            return named[0]
        names = [str(item["name"]) for item in place if isinstance(item, dict) and "name" in item]
        raise DocumentError(
            [f"--set {override}: nothing is called {step!r}{did_you_mean(step, names)}; there are {names}"]
        )
    raise DocumentError([f"--set {override}: {step!r} lies inside a single value"])


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
