"""Hardware and model as one TOML file each: what a step costs, what vLLM was told, where the figures are
from.

A file has `title`, `source`, and the tables `cost` (the fields of `Cost`) and `limits` (those of `Limits`).
Files beside this module are presets by name; `ragquake calibrate` writes more. An unknown key is refused: a
misspelt one would silently simulate something else.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from rag_service.model_server.cost import Cost
from rag_service.model_server.scheduler import Limits

DEFAULT = "laptop"
_SUFFIX = ".toml"
_TEXTS = ("title", "source")
_TABLES = ("cost", "limits")

T = TypeVar("T", Cost, Limits)


class PresetError(Exception):
    """A preset that cannot be used: which file, which key, what is allowed."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What the simulator behaves like."""

    name: str
    title: str
    source: str
    cost: Cost
    limits: Limits


def names() -> tuple[str, ...]:
    """The presets that come with the simulator."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def load(name: str) -> Preset:
    """The preset of this name, or of the file at this path. Raises PresetError."""
    if name in names():
        return parse(name, resources.files(__name__).joinpath(name + _SUFFIX).read_text("utf-8"))
    path = Path(name)
    if path.suffix != _SUFFIX and not path.is_file():
        raise PresetError(f"{name!r} is no preset; there are {', '.join(names())}, or give a {_SUFFIX} file")
    try:
        return parse(path.stem, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"the preset {name!r} cannot be read: {error}") from None


def parse(name: str, text: str) -> Preset:
    """The preset that a TOML text describes. Raises PresetError."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"preset {name!r} is not TOML: {error}") from None
    _only(name, "", given, (*_TEXTS, *_TABLES))
    texts = {key: given.get(key) for key in _TEXTS}
    for key, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            raise PresetError(f"preset {name!r}: {key} must be a text that is not empty, not {value!r}")
    return Preset(
        name=name,
        title=str(texts["title"]),
        source=str(texts["source"]),
        cost=_table(name, "cost", given.get("cost"), Cost),
        limits=_table(name, "limits", given.get("limits"), Limits),
    )


def render(preset: Preset) -> str:
    """A preset as the text that `parse` reads."""
    lines = [f"{key} = {json.dumps(getattr(preset, key), ensure_ascii=False)}" for key in _TEXTS]
    for table in _TABLES:
        values = asdict(getattr(preset, table))
        lines += ["", f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _table(name: str, table: str, given: Any, kind: type[T]) -> T:
    if not isinstance(given, dict):
        raise PresetError(f"preset {name!r}: [{table}] must be a table, not {given!r}")
    _only(name, f"{table}.", given, tuple(field.name for field in fields(kind)))
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.name not in given:
            if field.default is MISSING:
                raise PresetError(f"preset {name!r}: {table}.{field.name} is missing")
            continue
        value, wanted = given[field.name], hints[field.name]
        # A truth value is an int to Python, and a whole number may stand for a float.
        if isinstance(value, bool) is not (wanted is bool) or not isinstance(
            value, (int, float) if wanted is float else wanted
        ):
            raise PresetError(
                f"preset {name!r}: {table}.{field.name} is {value!r}; it must be of type {wanted.__name__}"
            )
    try:
        return kind(**given)
    except ValueError as error:
        raise PresetError(f"preset {name!r}: {table}.{error}") from None


def _only(name: str, where: str, given: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in given:
        if key not in allowed:
            raise PresetError(f"preset {name!r}: {where}{key} is not a key; allowed are {', '.join(allowed)}")
