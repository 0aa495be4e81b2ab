"""docs/reference/journal.md names every event that is written, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVENT = re.compile(r"[a-z]+\.[a-z_]+")


def written_events() -> set[str]:
    """The first argument of each `….append("a.b", …)` and `note("a.b", …)` in chaos."""
    found = set()
    for path in (ROOT / "chaos").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            first, called = node.args[0], node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("append", "note") and isinstance(first, ast.Constant):
                value = str(first.value)
                if EVENT.fullmatch(value):
                    found.add(value)
    return found


def test_the_reference_lists_the_events_that_are_written() -> None:
    """A reader of a journal finds each of its words explained."""
    text = (ROOT / "docs" / "reference" / "journal.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    documented = {event for row in rows for event in re.findall(r"`([^`]+)`", row)}

    assert len(documented) > 10
    assert written_events() == documented
