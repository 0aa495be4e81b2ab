"""A small real corpus: docstrings of a few modules of the standard library, one document for each name.

Small, so that it can be embedded within two seconds and loaded within a tenth: a service starts for each arm.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

MODULES = ("os", "json", "csv", "subprocess", "hashlib", "argparse", "socket", "shutil")
_MOST_CHARACTERS = 600


def documents(modules: Iterable[str] = MODULES) -> list[dict[str, str]]:
    """Every public name with a docstring."""
    found: dict[str, dict[str, str]] = {}
    for name in modules:
        for title, thing in sorted(vars(import_module(name)).items()):
            text = inspect.getdoc(thing) if callable(thing) else None
            if text and not title.startswith("_") and len(text) > 40:
                key = f"{name}.{title}"
                found[key] = {"id": key, "title": key, "text": text[:_MOST_CHARACTERS]}
    return list(found.values())


def write(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    """A JSONL file of documents, as `rag_service.ingest` reads it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
