"""The JSON Schema of an experiment, for editors: the model's own, with all faults and assertions in it.

A schema cannot know all that `ragquake validate` checks (relations, sums, bounds in units), so it is made to
refuse nothing that the command takes: a value may be a variable, a file that extends another may leave out
what its base has, and `null` takes something away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chaos.experiment.model import Experiment
from chaos.experiment.negative_control import NegativeControl
from chaos.faults import Fault, fault_kinds
from chaos.faults.over_time import LEAST_FLAP_S
from chaos.journeys_folder import known_journeys
from slo.assertions import all_assertions
from slo.objectives import Objective
from slo.units import DURATION_SCHEMA

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{[^{}]*\}", "description": "with a variable"}
_AS_WRITTEN = frozenset({"apiVersion", "kind", "name", "extends", "abstract", "variables", "because"})
"""Keys whose values a schema can read whole: they are not variables, or any text will do."""


def experiment_schema() -> Schema:
    """The schema, with its definitions; `chaos.schemas` finishes it."""
    models: list[type[BaseModel]] = [Experiment, NegativeControl, Objective]
    models += [*fault_kinds().values(), *all_assertions().values()]
    _, joined = models_json_schema([(model, "validation") for model in models])
    definitions: dict[str, Schema] = joined["$defs"]
    for fault in fault_kinds().values():
        _over_time(definitions[fault.__name__], fault)
    schema = definitions.pop("Experiment")
    properties = schema["properties"]
    names = next(iter(properties["faults"].pop("patternProperties")))
    properties["faults"] |= {
        "propertyNames": {"pattern": names},
        "additionalProperties": _fault(fault_kinds()),
    }
    properties["assertions"] |= {"items": _assertion()}
    properties["objectives"] |= {"anyOf": [{"type": "string"}, {"type": "array", "items": _ref("Objective")}]}
    properties["negative_control"] = _controls(properties["negative_control"])
    definitions["Load"]["properties"]["journeys"] |= _journeys()
    del definitions["Load"]["properties"]["journeys"]["patternProperties"]
    required = {"Experiment": schema.pop("required"), "Load": definitions["Load"].pop("required")}
    for node in (schema, *definitions.values()):
        _allow_variables(node)
    _allow_taking_away(properties, definitions)
    schema |= _whole_unless_extended(required) | {"$defs": definitions | {"Variable": _VARIABLE}}
    return schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _fault(kinds: dict[str, type[Fault]]) -> Schema:
    """Any kind, and what goes with that kind."""
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(kinds)}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": _ref(model.__name__),
            }
            for kind, model in kinds.items()
        ],
    }


def _over_time(schema: Schema, fault: type[Fault]) -> None:
    """A fault takes `flap` as well, and `ramp` in the place of a parameter."""
    half = {"on": DURATION_SCHEMA, "off": DURATION_SCHEMA}
    schema["properties"]["flap"] = {
        "type": "object", "properties": half, "required": ["on", "off"], "additionalProperties": False,
        "description": f"in and out in turns; at least {LEAST_FLAP_S:g} s each",
    }  # fmt: skip
    if not fault.ramps:
        return
    ends = {"type": "array", "minItems": 2, "maxItems": 2}
    schema["properties"]["ramp"] = {
        "type": "object", "properties": {"over": DURATION_SCHEMA} | dict.fromkeys(fault.ramps, ends),
        "required": ["over"], "minProperties": 2, "maxProperties": 2, "additionalProperties": False,
        "description": f"moves one of {', '.join(fault.ramps)} from the first value to the second",
    }  # fmt: skip
    schema["required"] = [name for name in schema.get("required", []) if name not in fault.ramps]


def _assertion() -> Schema:
    known = {name: {"anyOf": [_ref(model.__name__), NULL]} for name, model in all_assertions().items()}
    return {
        "type": "object", "properties": known, "additionalProperties": False,
        "minProperties": 1, "maxProperties": 1,
    }  # fmt: skip


def _controls(written: Schema) -> Schema:
    short = {
        "type": "object", "properties": {"resilience": {"const": "off"}, "expect": {"const": "fail"}},
        "required": ["resilience", "expect"],
    }  # fmt: skip
    one = {"anyOf": [_ref("NegativeControl"), short]}
    return {"anyOf": [one, {"type": "array", "items": one}], "description": written["description"]}


def _journeys() -> Schema:
    weight = {"type": "number", "exclusiveMinimum": 0}
    return {"properties": dict.fromkeys(known_journeys(), weight), "additionalProperties": False}


def _allow_variables(schema: Schema) -> None:
    """Wherever a single value is asked for, a text with a variable in it will do."""
    for key in ("properties", "patternProperties"):
        for name, inner in schema.get(key, {}).items():
            if name not in _AS_WRITTEN:
                schema[key][name] = _or_variable(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _or_variable(schema[key])
    for key in ("anyOf", "oneOf"):
        for inner in schema.get(key, ()):
            _allow_variables(inner)
    if "prefixItems" in schema:
        schema["prefixItems"] = [_or_variable(inner) for inner in schema["prefixItems"]]


def _or_variable(schema: Schema) -> Schema:
    if _is_single(schema):
        return _or(schema, _ref("Variable"))
    for choice in ("anyOf", "oneOf"):
        if any(_is_single(one) for one in schema.get(choice, ())):
            schema[choice].append(_ref("Variable"))
    _allow_variables(schema)
    return schema


def _is_single(schema: Schema) -> bool:
    """Whether it asks for one value that is more than any text."""
    is_told = bool({"pattern", "enum", "const"} & set(schema))
    return is_told or schema.get("type") in ("integer", "number", "boolean")


def _or(schema: Schema, other: Schema) -> Schema:
    """One or the other, with what the first says of itself kept outside."""
    about = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    is_choice = set(schema) == {"anyOf"}
    return {"anyOf": [*schema["anyOf"], other] if is_choice else [schema, other]} | about


def _allow_taking_away(properties: dict[str, Schema], definitions: dict[str, Schema]) -> None:
    """`null` where a file that extends another may take a key away."""
    load = definitions["Load"]["properties"]
    named: Iterable[tuple[dict[str, Any], set[str]]] = (
        (properties, set(properties) - {"apiVersion", "kind", "extends", "abstract", "name"}),
        (load, set(load)),
        (load["journeys"]["properties"], set(load["journeys"]["properties"])),
        *((properties[key], {"additionalProperties"}) for key in ("service", "variables", "faults")),
        *(
            (definitions[fault.__name__]["properties"], set(definitions[fault.__name__]["properties"]))
            for fault in fault_kinds().values()
        ),
    )
    for holder, keys in named:
        for key in keys - {"on", "kind"}:
            holder[key] = _or(holder[key], NULL)


def _whole_unless_extended(required: dict[str, list[str]]) -> Schema:
    """What must be there, unless a base has it or those that extend this one bring it."""
    is_abstract = {"properties": {"abstract": {"const": True}}, "required": ["abstract"]}
    return {
        "if": {"anyOf": [{"required": ["extends"]}, is_abstract]},
        "else": {
            "required": required["Experiment"],
            "properties": {
                "load": {"required": required["Load"]},
                "faults": {"additionalProperties": {"required": ["on", "kind"]}},
            },
        },
    }
