"""From an experiment's words to a fault, with complaints that say what to write instead.

Every complaint is a `ValidationError` whose location is the key at fault, so that whoever knows the
file can add its line.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from chaos import faults
from chaos.faults.fault import _KINDS, Fault
from chaos.faults.over_time import OverTime, Ramp, parse_flap, parse_ramp
from slo.units import parse_duration_s

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def fault_kinds() -> dict[str, type[Fault]]:
    """Every kind of fault by name: each file in this package registers its own."""
    _import_modules()
    return dict(sorted(_KINDS.items()))


@cache
def _import_modules() -> None:
    for module in pkgutil.iter_modules(faults.__path__, f"{faults.__name__}."):
        importlib.import_module(module.name)


def parse_fault(name: str, raw: Mapping[str, Any]) -> Fault:
    """The fault that an experiment calls `name`; a `ValidationError` (a `ValueError`) says what is wrong."""
    if not _NAME.fullmatch(name):
        rule = "start with a letter or digit; use a-z, 0-9, '-' and '_', at most 64"
        raise _complaint(name, (), f"{name!r} cannot name a fault; {rule}", name)
    if not isinstance(raw, Mapping):
        form = "write {on: vector_db, kind: latency, latency: 2s}"
        raise _complaint(name, (), f"a fault is a mapping, not {raw!r}; {form}", raw)
    kinds = fault_kinds()
    kind = raw.get("kind")
    if kind is None:
        raise _complaint(name, ("kind",), f"kind is missing; allowed: {', '.join(kinds)}", dict(raw))
    if not isinstance(kind, str) or kind not in kinds:
        raise _complaint(name, ("kind",), f"there is no fault of kind {kind!r}{_or(str(kind), kinds)}", kind)
    return _over_time(name, kinds[kind], raw) or _parsed(name, kinds[kind], raw)


def _parsed(name: str, of: type[Fault], raw: Mapping[str, Any]) -> Fault:
    try:
        return of.model_validate(dict(raw))
    except ValidationError as error:
        raise _with_suggestions(name, of, error) from None


def _over_time(name: str, of: type[Fault], raw: Mapping[str, Any]) -> Fault | None:
    """The fault with its `ramp` and `flap`, both ends checked; `None` where it has neither."""
    fixed = {key: value for key, value in raw.items() if key not in ("ramp", "flap")}
    if len(fixed) == len(raw):
        return None
    flap = _told(name, "flap", raw, parse_flap) if "flap" in raw else None
    if "ramp" not in raw:
        return _parsed(name, of, fixed).over(OverTime(flap=flap))
    parameter, first, last, over_s = _told(name, "ramp", raw, parse_ramp)
    if parameter not in of.ramps:
        allowed = f"allowed: {', '.join(of.ramps)}" if of.ramps else "use phases with faults of their own"
        message = f"{parameter!r} of {raw['kind']} cannot be changed while it is in; {allowed}"
        raise _complaint(name, ("ramp",), message, raw["ramp"])
    if parameter in fixed:
        message = f"{parameter} stands in the ramp already; leave it away here"
        raise _complaint(name, (parameter,), message, fixed[parameter])
    ends = [_ramp_end(name, of, fixed, parameter, end) for end in (first, last)]
    if not all(isinstance(end, int | float) for end in ends):
        message = f"ramp.{parameter} goes between plain values, not {first!r} and {last!r}"
        raise _complaint(name, ("ramp",), message, raw["ramp"])
    ramp = Ramp(parameter, ends[0], ends[1], over_s)
    largest = last if ramp.larger == ends[1] else first
    return _parsed(name, of, {**fixed, parameter: largest}).over(OverTime(ramp, flap))


def _ramp_end(name: str, of: type[Fault], fixed: Mapping[str, Any], parameter: str, raw: Any) -> Any:
    """One end of a ramp as the parameter's own check reads it; 0 where a ramp may begin with nothing."""
    try:
        return getattr(_parsed(name, of, {**fixed, parameter: raw}), parameter)
    except ValidationError:
        if parameter in of.ramps_from_zero and _is_no_time(raw):
            return 0.0
        raise


def _is_no_time(raw: Any) -> bool:
    try:
        return parse_duration_s(raw) == 0
    except ValueError:
        return False


def _told(name: str, key: str, raw: Mapping[str, Any], parse: Callable[[Any], T]) -> T:
    try:
        return parse(raw[key])
    except ValueError as error:
        raise _complaint(name, (key,), str(error), raw[key]) from None


def _with_suggestions(name: str, of: type[Fault], error: ValidationError) -> ValidationError:
    """The same complaints, except that an unknown parameter is told which ones there are."""
    lines: list[InitErrorDetails] = []
    for line in error.errors(include_url=False):
        key = str(line["loc"][-1]) if line["loc"] else ""
        if line["type"] == "extra_forbidden":
            message = (
                f"{key!r} is not a parameter of {of.model_fields['kind'].default}{_or(key, of.model_fields)}"
            )
        elif line["type"] == "missing":
            message = f"{key} is missing{_about(of, key)}".replace(f"({key}: ", "(", 1)
        elif line["type"] == "string_pattern_mismatch":
            message = f"{line['input']!r} does not fit{_about(of, key)}"
        elif line["type"] == "value_error":
            message = line["msg"].removeprefix("Value error, ")
        else:
            message = f"{line['msg']}, not {line['input']!r}{_about(of, key)}"
        lines.append(_line(line["loc"], message, key if line["type"] == "extra_forbidden" else line["input"]))
    return ValidationError.from_exception_data(f"fault {name}", lines)


def _about(of: type[Fault], key: str) -> str:
    field = of.model_fields.get(key)
    return f" ({key}: {field.description})" if field and field.description else ""


def _or(wrong: str, allowed: Iterable[str]) -> str:
    names = list(allowed)
    near = difflib.get_close_matches(wrong, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" allowed: {', '.join(names)}"


def _complaint(name: str, loc: tuple[str | int, ...], message: str, value: Any) -> ValidationError:
    return ValidationError.from_exception_data(f"fault {name}", [_line(loc, message, value)])


def _line(loc: tuple[str | int, ...], message: str, value: Any) -> InitErrorDetails:
    error = PydanticCustomError("fault", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=loc, input=value)
