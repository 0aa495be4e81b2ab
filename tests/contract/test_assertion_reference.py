"""The page on assertions is made from them, and what it shows is what the language takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slo.assertions import all_assertions, problems_of
from slo.assertions.reference import page

PAGE = Path(__file__).parents[2] / "docs/reference/assertions.md"


def test_the_page_is_made_from_the_assertions() -> None:
    """`python -m slo.assertions.reference > docs/reference/assertions.md` after a change to one of them."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", all_assertions())
def test_every_example_is_taken(name: str) -> None:
    """What people copy is right, with each parameter described."""
    kind = all_assertions()[name]
    parameters = YAML(typ="safe", pure=True).load(kind.example)
    assert problems_of({name: parameters}, ["fault"], ["vector_db"]) == []
    assert all(field.description for field in kind.model_fields.values())
