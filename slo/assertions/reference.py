"""docs/reference/assertions.md, made from the assertions themselves: `python -m slo.assertions.reference`.

A page by hand would promise what a rule once measured. Here each rule's own words stand in it: what it says,
how it is measured, what a pass needs, its parameters and an example that the language takes.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from slo.assertions import Assertion, all_assertions
from slo.segments import default_table
from slo.segments.selection import SpanSelector
from slo.units import format_duration

_NEEDED = "needed"
_ABOUT = """\
# Assertions

Rules over the traces of a run. They stand under `assertions` in [an experiment](experiment.md), each as its
name and its parameters; [one how-to](../how-to/assert-on-traces.md) leads from a question to a rule.

Each is `pass`, `fail`, or `inconclusive`: nothing in the run could have broken it, so it has shown nothing,
and neither has the run. A failure names up to five traces. The first stands in every report as a tree of its
spans, in which `►` marks those that broke the rule; the ids of all are in `verdict.json`.

Spans are read from the bundle's `spans.parquet`, state changes of breakers from `logs.parquet`, what users
saw from `attempts.jsonl`, all on one clock. Where more than 0.1 % of that is lost, the run is inconclusive,
whatever its assertions say.
"""
_SELECTORS = """\
## Selectors

`select`, `with` and `without` of `traces` are selectors of spans. Every part that is given must fit; a list
means any of its items, `*` stands for anything. Numbers and booleans are compared as the text that spans
carry (`2`, `true`), lists as JSON text, so that `"*lexical*"` finds one of several.
"""
_ATTRIBUTES = """\
A selector passes only where the run shows that it could have taken something. Status, duration and the values
of these attributes, which the service's spans may carry, are free; another attribute must have been seen:
"""


def page() -> str:
    """The whole page."""
    parts = [_ABOUT, _contents(), *map(_assertion, all_assertions().values())]
    known = ", ".join(f"`{name}`" for name in default_table().attributes)
    parts += [_SELECTORS, _table(SpanSelector), f"{_ATTRIBUTES}{known}.\n"]
    return "\n".join(parts)


def _contents() -> str:
    rows = [f"| [`{name}`](#{name}) | {_rule(kind)} |" for name, kind in all_assertions().items()]
    return "\n".join(["| assertion | what it says |", "| --- | --- |", *rows, ""])


def _assertion(kind: type[Assertion]) -> str:
    why, _, how = (inspect.getdoc(sys.modules[kind.__module__]) or "").partition("\n\n")
    example = f"```yaml\nassertions:\n  - {kind.name}: {kind.example}\n```\n"
    parts = [f"## `{kind.name}`\n", f"{_rule(kind)}\n", f"{why} {' '.join(how.split())}\n", example]
    return "\n".join([*parts, *([_table(kind)] if kind.model_fields else [])])


def _rule(kind: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def _table(model: type[BaseModel]) -> str:
    rows = [f"| `{name}` | {what} | {about} | {default} |" for name, what, about, default in _rows(model)]
    return "\n".join(["| key | value | what it is | default |", "| --- | --- | --- | --- |", *rows, ""])


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        default = _NEEDED if field.is_required() else _default(field)
        yield field.alias or name, _kind(field), field.description or "", default


def _kind(field: FieldInfo) -> str:
    choices = _inside(field.annotation)
    if SpanSelector in choices:
        return "[selector](#selectors)"
    if dict in choices:
        return "keys and their values"
    if float in choices:
        return "duration"
    if tuple in choices:
        return "one or a list"
    return "whole number" if int in choices else "text"


def _inside(annotation: Any) -> set[Any]:
    """The plain types in an annotation, without what they are made of."""
    origin = getattr(annotation, "__origin__", None)
    if isinstance(origin, type) and not isinstance(annotation, types.UnionType):
        return {origin}
    inner = get_args(annotation)
    return {annotation} if not inner else set().union(*map(_inside, inner))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value in (None, (), {}):
        return "none"
    return format_duration(value) if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    sys.stdout.write(page())
