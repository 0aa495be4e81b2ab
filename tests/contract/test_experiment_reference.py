"""docs/reference/experiment.md and faults.md say what the models say, no more and no less."""

from __future__ import annotations

from chaos.experiment import reference
from chaos.faults import fault_kinds


def test_the_pages_are_as_they_are_made() -> None:
    """Every key, form, default and fault; make reference makes them anew."""
    for name in reference.PAGES:
        text = (reference.FOLDER / name).read_text(encoding="utf-8")
        assert reference.page(text) == text, f"{name}: run make reference"


def test_every_table_stands_on_a_page() -> None:
    """Negative control for the above: a page that has lost its marks is not up to date."""
    text = "".join((reference.FOLDER / name).read_text(encoding="utf-8") for name in reference.PAGES)
    assert [name for name in reference.TABLES if text.count(reference.BEGIN.format(name)) != 1] == []
    assert text.count(reference.END) == len(reference.TABLES)


def test_every_key_says_what_it_is() -> None:
    """A row without words would be a row that nobody can use."""
    text = "".join((reference.FOLDER / name).read_text(encoding="utf-8") for name in reference.PAGES)
    assert [row for row in text.splitlines() if row.startswith("| `") and "|  |" in row] == []
    assert all(f"### {kind}\n" in text for kind in fault_kinds())
