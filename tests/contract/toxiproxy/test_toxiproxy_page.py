"""The page on what is held, and by which test, says what the suite does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "explanation" / "toxiproxy-exactly.md"


def names_in_the_suite() -> set[str]:
    """The names of all tests beside this file."""
    files = Path(__file__).parent.glob("test_*.py")
    return {
        name for file in files for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }


def test_each_toxiproxy_test_on_the_page_exists() -> None:
    """A row that names a test names one that there is."""
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    assert len(named) > 60
    assert named - names_in_the_suite() == set()


def test_each_deviation_from_toxiproxy_is_on_the_page() -> None:
    """Nothing departs from Toxiproxy in silence."""
    text = PAGE.read_text()
    deviations = {name for name in names_in_the_suite() if name.startswith("test_documented_deviation")}
    assert len(deviations) >= 15
    assert {name for name in deviations if f"`{name}`" not in text} == set()
