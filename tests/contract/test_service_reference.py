"""docs/reference/service.md names every setting of the service with its true default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from rag_service.settings import Settings, known_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "service.md"


def documented() -> dict[str, str]:
    rows = re.findall(r"^\| `(RAG_\w+)` \| `([^`]*)` \|", PAGE.read_text(), flags=re.MULTILINE)
    return dict(rows)


def defaults() -> dict[str, str]:
    found = {}
    for name, field in Settings.model_fields.items():
        value = field.default
        if isinstance(value, BaseModel):
            found |= {
                f"RAG_{name}__{inner}".upper(): str(getattr(value, inner))
                for inner in type(value).model_fields
            }
        else:
            found[f"RAG_{name}".upper()] = str(value)
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    """A setting that nobody can look up might as well not exist, and a wrong default misleads."""
    assert set(documented()) == known_names()
    assert documented() == defaults()
