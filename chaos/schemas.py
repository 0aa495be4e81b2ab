"""JSON Schemas (2020-12) of the files that people write, for editors and whoever generates such files.

They are made from the models that read the files. `docs/reference/schema/` holds what comes out, and a
contract test holds the two together. A further kind of file is one more line in `SCHEMAS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from chaos.experiment.schema import Schema, experiment_schema
from chaos.experiment.suite import Suite
from chaos.stack.target import TargetFile
from slo.documents import DocumentError, did_you_mean
from slo.indicators import all_indicators
from slo.objectives import Objectives

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _of(model: type[BaseModel]) -> Callable[[], Schema]:
    return lambda: model.model_json_schema()


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "experiment": experiment_schema,
    "objectives": _of(Objectives),
    "suite": _of(Suite),
    "target": _of(TargetFile),
}


def schema_of(kind: str) -> Schema:
    """The schema of a kind of file. Raises DocumentError with the kinds that there are."""
    if kind not in SCHEMAS:
        hint = f"{did_you_mean(kind, SCHEMAS)}; allowed: {', '.join(SCHEMAS)}"
        raise DocumentError([f"{kind!r} is no kind of file{hint}"])
    schema = _tidy(SCHEMAS[kind]())
    if "Objective" in (definitions := schema.get("$defs", {})):
        definitions["Objective"]["properties"]["indicator"] |= {"enum": list(all_indicators())}
    return {"$schema": DIALECT, "title": f"ragquake {kind}"} | schema


def as_text(schema: Schema) -> str:
    """As it stands in a file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _tidy(schema: Schema) -> Schema:
    """Without the titles that only repeat keys, and without defaults in units that no file has."""
    kept: Schema = {}
    for key, value in schema.items():
        if key == "default" and not _can_be_written(value, schema):
            continue
        if key == "properties":
            kept[key] = {name: _tidy(inner) for name, inner in value.items()}
        elif isinstance(value, dict):
            kept[key] = _tidy(value)
        elif isinstance(value, list):
            kept[key] = [_tidy(one) if isinstance(one, dict) else one for one in value]
        elif key == "description":
            kept[key] = " ".join(value.partition("\n\n")[0].split())
        elif not (key == "title" and isinstance(value, str)):
            kept[key] = value
    return kept


def _can_be_written(default: Any, schema: Schema) -> bool:
    """Defaults of durations and ratios are numbers in the model and texts in a file."""
    is_text = schema.get("type") == "string" or any("pattern" in one for one in schema.get("anyOf", ()))
    return default is not None and isinstance(default, str) == is_text and default not in ({}, [], ())
