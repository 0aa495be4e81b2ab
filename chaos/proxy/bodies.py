"""Request bodies, decoded as Go decodes them, with its words for refusing.

Toxiproxy's clients send what Go's `encoding/json` takes: keys in any case, unknown ones ignored, `null`
for "leave it", anything after the first value ignored; but an integer written `100.0` is refused.
"""

from __future__ import annotations

import contextlib
import json
import struct as binary
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.proxy.go_json import complaint

_EXPLAINED_BYTES = 64 * 1024
_NAMES: Mapping[type, str] = {str: "string", bool: "bool", int: "int64", float: "float32", dict: "object"}


class BadBodyError(Exception):
    """A body that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """A number that is no integer, or too long to be one, with its spelling."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an object: its key, its type, the value where the body has none, and what Go calls it."""

    key: str
    type: type
    default: Any = None
    path: str = ""


def decode(body: bytes) -> Any:
    """The first JSON value of a body."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    decoder = json.JSONDecoder(parse_float=Fraction, parse_int=_integer, parse_constant=_no_constant)
    try:
        return decoder.raw_decode(text)[0]
    except RecursionError:
        raise BadBodyError(complaint(body[:_EXPLAINED_BYTES]) or "exceeded max depth") from None
    except ValueError as error:
        raise BadBodyError(_why(body, text, getattr(error, "pos", 0))) from None


def read_object(value: Any, struct: str, fields: tuple[Field, ...]) -> dict[str, Any]:
    """The members named by `fields`; `struct` is what Go would call the target."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadBodyError(f"json: cannot unmarshal {kind(value)} into Go value of type {struct}")
    given = {str(key).lower(): each for key, each in value.items() if each is not None}
    prefix = struct.rpartition(".")[2]
    return {
        field.key: _read(given[field.key], field.path or f"{prefix}.{field.key}", field.type)
        if field.key in given
        else field.default
        for field in fields
    }


def read_attributes(
    value: Mapping[str, Any], struct: str, defaults: Mapping[str, Any]
) -> dict[str, int | str]:
    """All members, each of its default's type or else an integer; those that are `null` are left out."""
    types = {name.lower(): type(default) for name, default in defaults.items()}
    return {
        _whole(key): _read(each, f"{struct}.attributes.{_whole(key)}", types.get(key.lower(), int))
        for key, each in value.items()
        if each is not None
    }


def _read(value: Any, path: str, wanted: type) -> Any:
    if wanted is float and (isinstance(value, Fraction) or type(value) is int):
        with contextlib.suppress(OverflowError):
            return _float32(_spelling(value))
    elif wanted is str and isinstance(value, str):
        return _whole(value)
    elif type(value) is wanted and (not isinstance(value, int) or -(2**63) <= value < 2**63):
        return value
    target = "toxics.NoopToxic" if wanted is dict else _NAMES[wanted]
    numeric = wanted in (int, float) and kind(value) == "number"
    shown = f"number {_spelling(value)}" if numeric else kind(value)
    raise BadBodyError(f"json: cannot unmarshal {shown} into Go struct field {path} of type {target}")


def kind(value: Any) -> str:
    """What Go calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | Fraction):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _spelling(number: Any) -> str:
    return number.text if isinstance(number, Fraction) else str(number)


def _why(body: bytes, text: str, at: int) -> str:
    """Go's words for a body that is no JSON; for a long one only the place: nobody is to wait for words."""
    if len(body) <= _EXPLAINED_BYTES:
        return complaint(body) or "invalid character looking for beginning of value"
    return (
        f"invalid character {text[at]!r} looking for beginning of value"
        if at < len(text)
        else "unexpected EOF"
    )


def _float32(spelling: str) -> float:
    """The nearest float32, written as short as Go writes it; `OverflowError` when there is none."""
    wanted = binary.pack("f", float(spelling))
    value = float(binary.unpack("f", wanted)[0])
    if value in (float("inf"), float("-inf")):
        raise OverflowError(spelling)
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((each for each in shorter if binary.pack("f", each) == wanted), value)


def _whole(text: str) -> str:
    """Text without halves of surrogate pairs, which no answer could carry; Go's replacement for them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _integer(spelling: str) -> int | Fraction:
    """Python refuses to read thousands of digits; Go says that they do not fit."""
    return int(spelling) if len(spelling) < 4000 else Fraction(spelling)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
