"""The tables of `docs/reference/experiment.md` and `faults.md`, and the schemas: `make reference`.

They are made from the models that read the files. What stands outside the marks is written by hand and kept;
a contract test holds the pages to this.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chaos.catalogue import NEEDS
from chaos.experiment.model import Experiment, Load, Phase
from chaos.experiment.negative_control import NegativeControl
from chaos.experiment.rates import SHAPES
from chaos.experiment.stop_condition import StopCondition
from chaos.faults import Fault, fault_kinds
from chaos.faults.fault import Need
from chaos.schemas import SCHEMAS, as_text, schema_of
from slo.units import DURATION_PATTERN, RATIO_PATTERN, format_duration, format_ratio

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = ("experiment.md", "faults.md")
BEGIN, END = "<!-- made by python -m chaos.experiment.reference: {} -->", "<!-- made until here -->"
_MADE = re.compile(rf"({BEGIN.format('([a-z-]+)')}\n).*?({END})", re.DOTALL)


def page(before: str) -> str:
    """A page with its tables made anew."""
    return _MADE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", before)


def _keys(model: type[BaseModel], but: frozenset[str] = frozenset()) -> str:
    """A row for each key of a model."""
    properties = model.model_json_schema()["properties"]
    rows = ["| key | what it is | written as | default |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key not in but:
            told = " ".join((field.description or "").split()).replace("|", "\\|")
            written, default = _written_as(properties[key]), _default(field, properties[key])
            rows.append(f"| `{key}` | {told} | {written} | {default} |")
    return "\n".join(rows)


def _written_as(schema: Mapping[str, Any]) -> str:
    """The form of a value, with its bounds, from the JSON Schema of its field."""
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := [one for one in schema.get("anyOf", schema.get("oneOf", ())) if one.get("type") != "null"]:
        return " or ".join(dict.fromkeys(_written_as(one) for one in choices))
    pattern = str(schema.get("pattern", ""))
    if pattern.startswith(RATIO_PATTERN) and pattern != RATIO_PATTERN:
        return "ratio or duration"
    known = {DURATION_PATTERN: "duration", RATIO_PATTERN: "ratio"}
    if pattern:
        return known.get(pattern, "rate" if r"/\s*(s|m|h)" in pattern else "text")
    words = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`", "array": "list"}
    kind = words.get(str(schema.get("type")), str(schema.get("type", "mapping")))
    return {"object": "mapping"}.get(kind, kind) + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum")
    if least is None or most is None or most > 2**32:
        return ""
    return f", {least:g} to {most:.15g}"


def _default(field: FieldInfo, schema: Mapping[str, Any]) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, []):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        form = _written_as(schema)
        spelled = format_ratio(value) if form.startswith("ratio") else format_duration(value)
        return f"`{spelled.replace(' ', '')}`" if form != "number" else f"`{value:g}`"
    return f"`{value}`" if isinstance(value, str | int) else "`1x`"


def _shapes() -> str:
    """The forms of a rate that changes."""
    examples = {
        "ramp": "{ramp: [1x, 10x]}",
        "steps": "{steps: [1x, 5x, 10x]}",
        "sine": "{sine: [1x, 4x], period: 20s}",
        "burst": "{burst: [1x, 10x], every: 10s, lasting: 2s}",
    }
    rows = ["| written | the rate | keys |", "| --- | --- | --- |"]
    for name, shape in SHAPES.items():
        told = (inspect.getdoc(shape) or "").splitlines()[0]
        keys = "; ".join(f"`{key}`: {field.description}" for key, field in shape.model_fields.items())
        rows.append(f"| `{examples[name]}` | {told} | {keys} |")
    return "\n".join(rows)


def _kinds_of_faults() -> str:
    """Every kind, by what it acts on, with its parameters."""
    lines: list[str] = []
    for need in get_args(Need):
        lines += [f"## Faults on {need}" if need != "simulator" else "## Faults of the simulator", ""]
        lines += [NEEDS[need].removeprefix(f"needs: {need}; ").removeprefix("needs: ").capitalize() + ".", ""]
        for kind, fault in fault_kinds().items():
            if fault.needs == need:
                lines += _fault(kind, fault)
    return "\n".join(lines).rstrip("\n")


def _fault(kind: str, fault: type[Fault]) -> list[str]:
    paragraphs = (inspect.getdoc(fault) or "").split("\n\n")
    example = next(one.strip() for one in paragraphs if f"kind: {kind}" in one and one.startswith("    "))
    lines = [f"### {kind}", "", " ".join(paragraphs[0].split()), "", "```yaml", example, "```", ""]
    for label in ("Looks like", "Bit when", "Undone"):
        lines.append(f"- {label}: {fault.told(label)}")
    lines.append("")
    if set(fault.model_fields) - {"on", "kind"}:
        lines += [_keys(fault, frozenset({"on", "kind"})), ""]
    if fault.ramps:
        lines += [f"A `ramp` moves {' or '.join(f'`{name}`' for name in fault.ramps)}.", ""]
    return lines


TABLES: Mapping[str, Callable[[], str]] = {
    "experiment": lambda: _keys(Experiment),
    "load": lambda: _keys(Load),
    "phases": lambda: _keys(Phase),
    "shapes": _shapes,
    "stop-when": lambda: _keys(StopCondition),
    "negative-control": lambda: _keys(NegativeControl),
    "faults": _kinds_of_faults,
}


def main() -> None:
    """Write the pages and the schemas anew."""
    for name in PAGES:
        path = FOLDER / name
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
    for kind in SCHEMAS:
        path = FOLDER / "schema" / f"{kind}.schema.json"
        path.write_text(as_text(schema_of(kind)), encoding="utf-8")


if __name__ == "__main__":
    main()
