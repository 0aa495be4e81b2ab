"""Request bodies, decoded as Go decodes them, with its words for refusing.

Toxiproxy's clients send what Go's `encoding/json` takes: keys in any case, unknown ones ignored, `null`
for "leave it", anything after the first value ignored; but an integer written `100.0` is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMES: Mapping[type, str] = {str: "string", bool: "bool", int: "int64", float: "float32", dict: "object"}


class BadBodyError(Exception):
    """A body that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """A number that is no integer, with its spelling."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an object: its key, its type, and the value where the body has none."""

    key: str
    type: type
    default: Any = None


def decode(body: bytes) -> Any:
    """The first JSON value of a body."""
    try:
        text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
        if not text:
            raise BadBodyError("EOF")
        decoder = json.JSONDecoder(parse_float=Fraction, parse_constant=_no_constant)
        return decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            raise BadBodyError("unexpected EOF") from None
        character = text[error.pos]
        raise BadBodyError(f"invalid character {character!r} looking for beginning of value") from None
    except RecursionError:
        raise BadBodyError("exceeded max depth") from None


def read_object(value: Any, struct: str, fields: tuple[Field, ...]) -> dict[str, Any]:
    """The members named by `fields`; `struct` is what Go would call the target."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadBodyError(f"json: cannot unmarshal {_kind(value)} into Go value of type {struct}")
    given = {str(key).lower(): each for key, each in value.items() if each is not None}
    prefix = struct.rpartition(".")[2]
    return {
        field.key: _read(given[field.key], f"{prefix}.{field.key}", field.type)
        if field.key in given
        else field.default
        for field in fields
    }


def read_integers(value: Mapping[str, Any], struct: str) -> dict[str, int]:
    """All members, each an integer; those that are `null` are left out."""
    return {
        key: _read(each, f"{struct}.attributes.{key}", int) for key, each in value.items() if each is not None
    }


def _read(value: Any, path: str, wanted: type) -> Any:
    if wanted is float and isinstance(value, Fraction):
        return float(value.text)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is wanted and (not isinstance(value, int) or -(2**63) <= value < 2**63):
        return value
    target = "toxics.NoopToxic" if wanted is dict else _NAMES[wanted]
    shown = f"number {_spelling(value)}" if wanted is int and _kind(value) == "number" else _kind(value)
    raise BadBodyError(f"json: cannot unmarshal {shown} into Go struct field {path} of type {target}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | Fraction):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _spelling(number: Any) -> str:
    return number.text if isinstance(number, Fraction) else str(number)


def _no_constant(name: str) -> Any:
    raise BadBodyError(f"invalid character {name[0]!r} looking for beginning of value")
