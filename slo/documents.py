"""YAML files that people write, read safely and complained about precisely.

A file of experiments or objectives is input from a person: when it is wrong they need the file, the line,
the key, the value and what is allowed, all problems at once, and never a traceback. So the YAML is
walked as nodes, which know their lines, instead of being built by a loader: no tag is obeyed, no key may
stand twice, and aliases cannot grow into a bomb because the number of values is bounded.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 30
MAX_MESSAGE = 1000
_CORE = "tag:yaml.org,2002:"

Location = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class DocumentError(ValueError):
    """A file that cannot be used; `problems` holds one line for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value was written: a line of a file, or something without lines (`--set load.seed=7`)."""

    source: Path | str
    line: int | None
    note: str = ""
    """What else one must know of the value, such as where a variable in it got its own."""

    def __str__(self) -> str:
        return str(self.source) if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file's values and where each of them was written, which may be another file."""

    path: Path
    data: dict[str, Any]
    marks: dict[Location, Mark]

    def problem(self, location: Location, message: str) -> str:
        """One line that says where (`spike.yaml:12: phases[1].for: …`) and what."""
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE // 2]} … {message[-MAX_MESSAGE // 2 :]}"
        key = format_location(location)
        where = self.mark_of(location)
        note = f" ({where.note})" if where.note else ""
        return _one_line(f"{where}: {key}: {message}{note}" if key else f"{where}: {message}{note}")

    def mark_of(self, location: Location) -> Mark:
        """Where a value was written, or the nearest value around it that was."""
        while location and location not in self.marks:
            location = location[:-1]
        return self.marks.get(location, Mark(self.path, 1))

    def validate(self, model: type[ModelT]) -> ModelT:
        """The document as a model. Raises DocumentError with every problem that pydantic found."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise DocumentError(self.problems_of(error, model)) from None

    def problems_of(
        self,
        error: ValidationError,
        model: type[BaseModel] | None = None,
        at: Location = (),
        but: str | None = None,
    ) -> list[str]:
        """The lines that explain a pydantic error whose locations are relative to `at`, but not one type."""
        found = []
        details = error.errors(include_url=False)
        for detail in details:
            if detail["type"] == but or _only_follows(detail, details):
                continue
            location = self._as_written((*at, *detail["loc"]), detail["type"] == "missing")
            found.append(self.problem(location, explain(dict(detail), model)))
        return list(dict.fromkeys(found))

    def _as_written(self, location: Location, is_missing: bool) -> Location:
        """A location without the steps that are the model's alone, such as which form it tried."""
        place: Any = self.data
        written: list[str | int] = []
        for step in location[:-1] if is_missing else location:
            if isinstance(place, dict) and step in place:
                place = place[str(step)]
            elif isinstance(place, list) and isinstance(step, int) and step < len(place):
                place = place[step]
            else:
                continue
            written.append(step)
        return (*written, location[-1]) if is_missing else tuple(written)


def read_document(path: Path) -> Document:
    """Read one YAML mapping. Raises DocumentError when it is missing, too large, or not one."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DocumentError([f"{path}: cannot be read: {reason}"]) from None
    if len(raw) > MAX_BYTES:
        raise DocumentError([f"{path}: more than {MAX_BYTES} bytes; at most {MAX_BYTES} are read"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError([f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8"]) from None
    return parse_document(text, path)


def parse_document(text: str, path: Path) -> Document:
    """The same for text that is already in memory; `path` only names it in messages."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        around = text.splitlines()[max(0, line - 2) : line]
        hint = (
            '; between { } or [ ] quote a variable: "${name}"' if any("${" in one for one in around) else ""
        )
        reason = str(error.problem or error.context)
        hint = hint or next((told for begin, told in _YAML_HINTS.items() if reason.startswith(begin)), "")
        message = f"not valid YAML: {reason}{hint}"
        raise DocumentError([f"{path}:{line}: {message}"]) from None
    except RecursionError:
        raise DocumentError([f"{path}: nested more than {MAX_DEPTH} levels deep"]) from None
    except (YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DocumentError([f"{path}: not valid YAML: {reason}"]) from None
    if node is None:
        raise DocumentError([f"{path}: the file is empty; it must hold a mapping of keys to values"])
    if not isinstance(node, MappingNode):
        raise DocumentError([f"{path}:1: must hold a mapping of keys to values, not a {_word(node)}"])
    walk = _Walk(path)
    data = walk.value(node, ())
    if walk.problems:
        raise DocumentError(walk.problems)
    return Document(path, data, walk.marks)


_YAML_HINTS: Mapping[str, str] = {
    "mapping values are not allowed": "; a line indented too far, or `: ` in text without quotes?",
    "could not find expected ':'": "; a key ends with `: `, also that of the line before",
    "found character '\\t'": "; indent with spaces",
    "found character": "; quote the text that it stands in",
}
"""What people mostly did when the parser says so."""


def explain(detail: Mapping[str, Any], model: type[BaseModel] | None = None) -> str:
    """What is wrong with one value, in a sentence, from one entry of pydantic's `errors()`."""
    kind, value = detail["type"], detail.get("input")
    if kind == "missing":
        return "is required and is missing"
    if kind == "extra_forbidden":
        known = sorted(known_keys(model, tuple(detail["loc"][:-1]))) if model else []
        allowed = f"; allowed are {', '.join(known)}" if known else ""
        return f"unknown key{did_you_mean(str(detail['loc'][-1]), known)}{allowed}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if kind in _WANTED:
        return f"{_shown(value)}: must be {_WANTED[kind]}"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        hint = did_you_mean(str(value), known)
        message = f"{value!r} is not allowed{hint}; allowed: {', '.join(known)}"
    for pattern, words in _WORDS:
        message = re.sub(pattern, words, message)
    if repr(value) in message or isinstance(value, Mapping | list):
        return message
    return f"{_shown(value)}: {message[:1].lower()}{message[1:]}"


def _only_follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is short of items only because those that it has are wrong, which is told of them."""
    at = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(at)] == at and len(other["loc"]) > len(at) for other in details
    )


_WANTED: Mapping[str, str] = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping of keys to values"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list, such as [a, b], or lines that begin with `- `"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "string_type": "text",
}
"""What a file would have to hold where pydantic names a type of Python's."""
_WORDS = (
    (r"^(Input|Value|String|Tuple|List|Dictionary) should ", "must "),
    (r"be greater than or equal to", "be at least"),
    (r"be less than or equal to", "be at most"),
    (r"be greater than", "be more than"),
    (r" after validation", ""),
)
"""Pydantic's sentences in the words of this page."""


def _shown(value: Any) -> str:
    """A value as a message has it: a file may hold a megabyte where a number was asked for."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    text = "null" if value is None else text
    return text if len(text) <= 80 else f"{text[:80]}…"


def _one_line(text: str) -> str:
    """Without what would move the cursor of a terminal: keys and values are anybody's."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` when a known word is close to this one, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def known_keys(model: type[BaseModel], location: Location) -> set[str]:
    """The keys that a model allows at a place in the document."""
    current = [model]
    for step in location:
        fields = [f for one in current for name, f in one.model_fields.items() if step in (name, f.alias)]
        named = [one for one in current if one.__name__ == step]
        if fields:
            current = [inner for field in fields for inner in _models_in(field.annotation)]
        elif named:  # pydantic names the form of a value that it tried
            current = named
        elif not isinstance(step, int):
            return set()
    return {field.alias or name for one in current for name, field in one.model_fields.items()}


def format_location(location: Location) -> str:
    """`phases[1].for` for `("phases", 1, "for")`."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _models_in(inner)]


def _word(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "mapping"
    return "list" if isinstance(node, SequenceNode) else "single value"


class _Walk:
    """Turns nodes into plain values while noting lines and problems."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marks: dict[Location, Mark] = {}
        self.problems: list[str] = []
        self._count = 0

    def value(self, node: Node, location: Location) -> Any:
        self.marks.setdefault(location, Mark(self.path, node.start_mark.line + 1))
        self._count += 1
        if self._count > MAX_VALUES:
            if self._count == MAX_VALUES + 1:
                self._complain(node, f"more than {MAX_VALUES} values; is an alias repeated too often?")
            return None
        if len(location) > MAX_DEPTH:
            self._complain(node, f"nested more than {MAX_DEPTH} levels deep; does an alias contain itself?")
            self._count = MAX_VALUES + 1  # one such complaint is enough: stop walking
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, location)
        if isinstance(node, SequenceNode):
            self._check_tag(node, "seq")
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        return self._scalar(cast(ScalarNode, node))

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        self._check_tag(node, "map")
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(key_node, f"a key must be a single value, not a {_word(key_node)}")
                continue
            key = str(key_node.value)
            if key in result:
                self._complain(key_node, f"key {_shown(key)} stands twice; keep one of them")
                continue
            self.marks[(*location, key)] = Mark(self.path, key_node.start_mark.line + 1)
            result[key] = self.value(value_node, (*location, key))
        return result

    def _scalar(self, node: ScalarNode) -> Any:
        kind = str(node.tag).removeprefix(_CORE)
        text = str(node.value)
        match kind:
            case "str" | "timestamp":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() in ("true", "yes", "on")
            case "int":
                return self._int(node, text)
            case "float":
                return self._float(node, text)
            case _:
                self._complain(node, f"tag {node.tag} is not allowed; only plain YAML is read")
                return None

    def _int(self, node: ScalarNode, text: str) -> int | None:
        try:
            return int(text) if text.lstrip("+-").isdigit() else int(text.replace("_", ""), 0)
        except ValueError:
            self._complain(node, f"{_shown(text)} is not a number that can be read")
            return None

    def _float(self, node: ScalarNode, text: str) -> float | None:
        try:
            number = float(text.replace("_", ""))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self._complain(node, f"{_shown(text)} is not a finite number")
            return None
        return number

    def _check_tag(self, node: Node, plain: str) -> None:
        if node.tag != f"{_CORE}{plain}":
            self._complain(node, f"tag {node.tag} is not allowed; only plain YAML is read")

    def _complain(self, node: Node, message: str) -> None:
        self.problems.append(_one_line(f"{self.path}:{node.start_mark.line + 1}: {message}"))
